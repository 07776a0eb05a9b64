#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <thread>

#include "collectives/communicator.h"

namespace ringlet {

// One thread that carries out jobs in the order in which they come, beside the
// caller. It starts with the first asynchronous job.
//
// After a job has thrown, its Work, the Works behind it and every later call
// throw the same exception: ranks that have lost their common order cannot go
// on. Used by one caller at a time.
class ProgressThread {
 public:
  using Job = std::function<void()>;

  // `set_urgent(false)` is called when nobody is held up by the job that runs,
  // set_urgent(true) when somebody is again, which is what holds at first.
  explicit ProgressThread(std::function<void(bool)> set_urgent);

  // Finishes what is in flight.
  ~ProgressThread();
  ProgressThread(const ProgressThread&) = delete;
  ProgressThread& operator=(const ProgressThread&) = delete;

  // Carries out `job` and returns: on the calling thread if nothing is in
  // flight, else behind what is. Without a lock and without an indirect call,
  // which a small all-reduce would notice.
  template <typename J>
  void run(const J& job) {
    if (!enter()) return submit(job).wait();
    try {
      job();
    } catch (...) {
      fail(std::current_exception());
      throw;
    }
  }

  Work submit(Job job);

  // Leaves the thread to its job, which will never end, instead of waiting for
  // it. What the job uses must live on.
  void abandon();

 private:
  struct Queue;
  class Task;

  // False where something is in flight; throws what a job has thrown.
  bool enter();
  void fail(std::exception_ptr failure);

  std::shared_ptr<Queue> queue_;
  std::thread thread_;
};

}  // namespace ringlet
