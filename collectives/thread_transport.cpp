#include "collectives/thread_transport.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <vector>

#include "kernels/runtime/check.h"

namespace ringlet {
namespace {

constexpr const char* kAborted = "another rank gave up";

// One end of a message: where its bytes are or are wanted.
struct Message {
  bool is_send;
  void* target = nullptr;        // of a receive
  const void* source = nullptr;  // of a send
  std::size_t bytes = 0;
  bool done = false;
  std::size_t partner_bytes = 0;  // once done: what the other end said
};

// The messages from one rank to another. At most one of the queues holds
// anything: whoever comes second finds its partner and copies.
class Channel {
 public:
  void post(Message& message) {
    const std::lock_guard lock(mutex_);
    auto& partners = message.is_send ? receives_ : sends_;
    if (partners.empty()) {
      (message.is_send ? sends_ : receives_).push_back(&message);
      return;
    }
    Message& partner = *partners.front();
    partners.pop_front();
    deliver(message.is_send ? message : partner,
            message.is_send ? partner : message);
    changed_.notify_all();
  }

  // Takes back a message that an exception leaves behind.
  void withdraw(Message& message) {
    const std::lock_guard lock(mutex_);
    std::erase(sends_, &message);
    std::erase(receives_, &message);
  }

  bool done(const Message& message) {
    const std::lock_guard lock(mutex_);
    return message.done;
  }

  void wait(const Message& message, const std::atomic<bool>& aborted) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return message.done || aborted; });
    if (!message.done) throw Cancelled(kAborted);
  }

  void wake() {
    const std::lock_guard lock(mutex_);
    changed_.notify_all();
  }

 private:
  static void deliver(Message& send, Message& receive) {
    if (send.bytes == receive.bytes && send.bytes > 0) {
      std::memcpy(receive.target, send.source, send.bytes);
    }
    send.partner_bytes = receive.bytes;
    receive.partner_bytes = send.bytes;
    send.done = receive.done = true;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Message*> sends_;
  std::deque<Message*> receives_;
};

}  // namespace

class ThreadWorld::State {
 public:
  explicit State(int size)
      : size_(size), channels_(static_cast<std::size_t>(size * size)) {}

  int size() const { return size_; }
  const std::atomic<bool>& aborted() const { return aborted_; }
  Channel& channel(int from, int to) {
    return channels_[static_cast<std::size_t>(from * size_ + to)];
  }

  void abort() {
    aborted_ = true;
    for (Channel& channel : channels_) channel.wake();
  }

 private:
  int size_;
  std::atomic<bool> aborted_ = false;
  std::vector<Channel> channels_;
};

namespace {

class ThreadRequest final : public Transport::Request {
 public:
  ThreadRequest(Channel& channel, const std::atomic<bool>& aborted,
                const Message& message)
      : channel_(channel), aborted_(aborted), message_(message) {
    channel_.post(message_);
  }
  ~ThreadRequest() override { channel_.withdraw(message_); }

  bool test() override {
    if (channel_.done(message_)) {
      check_bytes();
      return true;
    }
    if (aborted_) throw Cancelled(kAborted);
    return false;
  }

  void wait() {
    channel_.wait(message_, aborted_);
    check_bytes();
  }

 private:
  void check_bytes() const {
    RINGLET_CHECK(message_.bytes == message_.partner_bytes,
                  "one rank sends {} bytes where the other wants {}",
                  message_.is_send ? message_.bytes : message_.partner_bytes,
                  message_.is_send ? message_.partner_bytes : message_.bytes);
  }

  Channel& channel_;
  const std::atomic<bool>& aborted_;
  Message message_;
};

class ThreadTransport final : public Transport {
 public:
  ThreadTransport(std::shared_ptr<ThreadWorld::State> world, int rank)
      : world_(std::move(world)), rank_(rank) {}

  int rank() const override { return rank_; }
  int size() const override { return world_->size(); }

  RequestPtr isend(int peer, const void* data, std::size_t bytes) override {
    return post(world_->channel(rank_, peer),
                {.is_send = true, .source = data, .bytes = bytes});
  }

  RequestPtr irecv(int peer, void* data, std::size_t bytes) override {
    return post(world_->channel(peer, rank_),
                {.is_send = false, .target = data, .bytes = bytes});
  }

  void wait(Request& request) override {
    static_cast<ThreadRequest&>(request).wait();
  }

  void cancel() noexcept override { world_->abort(); }

 private:
  RequestPtr post(Channel& channel, const Message& message) {
    return std::make_unique<ThreadRequest>(channel, world_->aborted(), message);
  }

  std::shared_ptr<ThreadWorld::State> world_;
  int rank_;
};

}  // namespace

ThreadWorld::ThreadWorld(int size) : state_(std::make_shared<State>(size)) {}
ThreadWorld::~ThreadWorld() = default;

int ThreadWorld::size() const { return state_->size(); }

std::unique_ptr<Transport> ThreadWorld::transport(int rank) {
  RINGLET_CHECK(0 <= rank && rank < size(), "rank {} of {}", rank, size());
  return std::make_unique<ThreadTransport>(state_, rank);
}

void ThreadWorld::abort() noexcept { state_->abort(); }

}  // namespace ringlet
