#include "collectives/thread_channels.h"

#include <cstring>

#include "kernels/runtime/check.h"

namespace ringlet {
namespace {

constexpr const char* kAborted = "another rank gave up";

}  // namespace

void ThreadChannel::post(ThreadMessage& message) {
  const std::lock_guard lock(mutex_);
  auto& partners = message.is_send ? receives_ : sends_;
  if (partners.empty()) {
    (message.is_send ? sends_ : receives_).push_back(&message);
    return;
  }
  ThreadMessage& partner = *partners.front();
  partners.pop_front();
  deliver(message.is_send ? message : partner,
          message.is_send ? partner : message);
  changed_.notify_all();
}

void ThreadChannel::withdraw(ThreadMessage& message) {
  const std::lock_guard lock(mutex_);
  std::erase(sends_, &message);
  std::erase(receives_, &message);
}

bool ThreadChannel::done(const ThreadMessage& message) {
  const std::lock_guard lock(mutex_);
  return message.done;
}

void ThreadChannel::wait(const ThreadMessage& message,
                         const std::atomic<bool>& aborted) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return message.done || aborted; });
  if (!message.done) throw Cancelled(kAborted);
}

void ThreadChannel::wake() {
  const std::lock_guard lock(mutex_);
  changed_.notify_all();
}

void ThreadChannel::deliver(ThreadMessage& send, ThreadMessage& receive) {
  if (send.bytes == receive.bytes && send.bytes > 0) {
    std::memcpy(receive.target, send.source, send.bytes);
  }
  receive.departure = send.departure;
  send.partner_bytes = receive.bytes;
  receive.partner_bytes = send.bytes;
  send.done = receive.done = true;
}

void ThreadChannels::abort() noexcept {
  aborted_ = true;
  for (ThreadChannel& channel : channels_) channel.wake();
}

bool ThreadRequest::test() {
  if (channel_.done(message_)) {
    check_bytes();
    return true;
  }
  if (aborted_) throw Cancelled(kAborted);
  return false;
}

void ThreadRequest::wait() {
  channel_.wait(message_, aborted_);
  check_bytes();
}

void ThreadRequest::check_bytes() const {
  RINGLET_CHECK(message_.bytes == message_.partner_bytes,
                "one rank sends {} bytes where the other wants {}",
                message_.is_send ? message_.bytes : message_.partner_bytes,
                message_.is_send ? message_.partner_bytes : message_.bytes);
}

}  // namespace ringlet
