#pragma once

#include <chrono>
#include <memory>
#include <thread>
#include <utility>

#include "collectives/transport.h"

namespace ringlet::testing {

// A transport whose clock is off by so many nanoseconds, and whose sends leave
// later than they are asked to.
class SkewedTransport final : public Transport {
 public:
  SkewedTransport(std::unique_ptr<Transport> inner, std::int64_t skew,
                  std::chrono::nanoseconds send_delay = {})
      : inner_(std::move(inner)), skew_(skew), send_delay_(send_delay) {}

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  RequestPtr isend(int peer, const void* data, std::size_t bytes) override {
    if (send_delay_.count() > 0) std::this_thread::sleep_for(send_delay_);
    return inner_->isend(peer, data, bytes);
  }
  RequestPtr irecv(int peer, void* data, std::size_t bytes) override {
    return inner_->irecv(peer, data, bytes);
  }
  void wait(Request& request) override { inner_->wait(request); }
  void cancel() noexcept override { inner_->cancel(); }
  std::int64_t now() const override { return inner_->now() + skew_; }

 private:
  std::unique_ptr<Transport> inner_;
  std::int64_t skew_;
  std::chrono::nanoseconds send_delay_;
};

}  // namespace ringlet::testing
