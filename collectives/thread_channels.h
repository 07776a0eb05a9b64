#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <vector>

#include "collectives/transport.h"

namespace ringlet {

// What carries messages between threads that are ranks of one job; for
// thread_transport and simulated_transport alone.

// One end of a message: where its bytes are or are wanted.
struct ThreadMessage {
  bool is_send;
  void* target = nullptr;        // of a receive
  const void* source = nullptr;  // of a send
  std::size_t bytes = 0;
  std::int64_t departure = 0;  // travels with the bytes, for who has a use
  bool done = false;
  std::size_t partner_bytes = 0;  // once done: what the other end said
};

// The messages from one rank to another. At most one of the queues holds
// anything: whoever comes second finds its partner and copies.
class ThreadChannel {
 public:
  void post(ThreadMessage& message);
  // Takes back a message that an exception leaves behind.
  void withdraw(ThreadMessage& message);
  bool done(const ThreadMessage& message);
  // Throws Cancelled where `aborted` comes first.
  void wait(const ThreadMessage& message, const std::atomic<bool>& aborted);
  void wake();

 private:
  static void deliver(ThreadMessage& send, ThreadMessage& receive);

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<ThreadMessage*> sends_;
  std::deque<ThreadMessage*> receives_;
};

// The channels of all pairs of ranks, and whether the job has been given up.
class ThreadChannels {
 public:
  explicit ThreadChannels(int size)
      : size_(size),
        channels_(static_cast<std::size_t>(size) *
                  static_cast<std::size_t>(size)) {}

  int size() const { return size_; }
  const std::atomic<bool>& aborted() const { return aborted_; }
  ThreadChannel& between(int from, int to) {
    return channels_[static_cast<std::size_t>(from * size_ + to)];
  }
  void abort() noexcept;

 private:
  int size_;
  std::atomic<bool> aborted_ = false;
  std::vector<ThreadChannel> channels_;
};

// A message in flight; done when both ends have met.
class ThreadRequest : public Transport::Request {
 public:
  ThreadRequest(ThreadChannel& channel, const std::atomic<bool>& aborted,
                const ThreadMessage& message)
      : channel_(channel), aborted_(aborted), message_(message) {
    channel_.post(message_);
  }
  ~ThreadRequest() override { channel_.withdraw(message_); }

  bool test() override;
  void wait();

 protected:
  const ThreadMessage& message() const { return message_; }

 private:
  void check_bytes() const;

  ThreadChannel& channel_;
  const std::atomic<bool>& aborted_;
  ThreadMessage message_;
};

}  // namespace ringlet
