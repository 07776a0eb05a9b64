#include "collectives/progress_thread.h"

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <utility>

namespace ringlet {

struct ProgressThread::Queue {
  explicit Queue(std::function<void(bool)> f) : set_urgent_(std::move(f)) {}

  void work_off();
  // Under the mutex, or where no task is left.
  void set_urgent(bool now) {
    if (std::exchange(urgent_, now) != now) set_urgent_(now);
  }

  // Tasks that are not done. Where there is none, only the caller of run() and
  // submit() looks at the rest.
  std::atomic<std::size_t> pending = 0;
  std::mutex mutex;  // guards all that follows
  std::condition_variable submitted;
  std::condition_variable finished;
  std::deque<std::shared_ptr<Task>> tasks;  // the first one runs
  std::exception_ptr failure;               // of the first job that threw
  int waiters = 0;
  bool stopping = false;

 private:
  const std::function<void(bool)> set_urgent_;
  bool urgent_ = true;
};

class ProgressThread::Task final : public Work::State {
 public:
  Task(std::shared_ptr<Queue> queue, Job job)
      : queue_(std::move(queue)), job_(std::move(job)) {}

  void wait() override {
    std::unique_lock lock(queue_->mutex);
    if (!done_) {
      ++queue_->waiters;
      queue_->set_urgent(true);
      queue_->finished.wait(lock, [&] { return done_; });
      // With no task left there is nobody to calm, and the caller may have
      // begun a job of its own.
      if (--queue_->waiters == 0 && !queue_->tasks.empty()) {
        queue_->set_urgent(false);
      }
    }
    if (error_) std::rethrow_exception(error_);
  }

  bool done() const override {
    const std::lock_guard lock(queue_->mutex);
    return done_;
  }

 private:
  friend struct Queue;

  const std::shared_ptr<Queue> queue_;
  const Job job_;
  bool done_ = false;         // guarded by the queue's mutex
  std::exception_ptr error_;  // likewise
};

// What the thread does until it is told to stop.
void ProgressThread::Queue::work_off() {
  std::unique_lock lock(mutex);
  for (;;) {
    submitted.wait(lock, [&] { return stopping || !tasks.empty(); });
    if (tasks.empty()) return;
    const std::shared_ptr<Task> task = tasks.front();
    if (!failure) {
      set_urgent(waiters > 0);
      lock.unlock();
      std::exception_ptr error;
      try {
        task->job_();
      } catch (...) {
        error = std::current_exception();
      }
      lock.lock();
      failure = error;
    }
    task->error_ = failure;
    task->done_ = true;
    tasks.pop_front();
    --pending;
    finished.notify_all();
  }
}

ProgressThread::ProgressThread(std::function<void(bool)> set_urgent)
    : queue_(std::make_shared<Queue>(std::move(set_urgent))) {}

ProgressThread::~ProgressThread() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(queue_->mutex);
    queue_->stopping = true;
  }
  queue_->submitted.notify_one();
  thread_.join();
}

bool ProgressThread::enter() {
  if (queue_->pending > 0) return false;
  if (queue_->failure) std::rethrow_exception(queue_->failure);
  queue_->set_urgent(true);
  return true;
}

void ProgressThread::fail(std::exception_ptr failure) {
  queue_->failure = std::move(failure);
}

Work ProgressThread::submit(Job job) {
  auto task = std::make_shared<Task>(queue_, std::move(job));
  {
    const std::lock_guard lock(queue_->mutex);
    if (queue_->failure) std::rethrow_exception(queue_->failure);
    queue_->tasks.push_back(task);
    ++queue_->pending;
  }
  queue_->submitted.notify_one();
  if (!thread_.joinable()) {
    thread_ = std::thread([queue = queue_] { queue->work_off(); });
  }
  return Work(std::move(task));
}

void ProgressThread::abandon() {
  if (thread_.joinable()) thread_.detach();
}

}  // namespace ringlet
