#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace ringlet {

// Threads that run tasks in the order of their arrival. A task must not
// throw: wrap what may in a std::packaged_task.
class WorkerPool {
 public:
  // With 0 threads add() runs the task itself.
  explicit WorkerPool(std::size_t threads);
  // Forgets the tasks that wait and joins those that run.
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  std::size_t size() const { return threads_.size(); }
  void add(std::function<void()> task);
  // Forgets the tasks that wait; those that run go on.
  void clear();

 private:
  void run();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace ringlet
