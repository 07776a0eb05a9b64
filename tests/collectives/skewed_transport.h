#pragma once

#include <chrono>
#include <memory>
#include <thread>
#include <utility>

#include "collectives/forwarding_transport.h"

namespace ringlet::testing {

// A transport whose clock is off by so many nanoseconds, and whose sends leave
// later than they are asked to.
class SkewedTransport final : public ForwardingTransport {
 public:
  SkewedTransport(std::unique_ptr<Transport> inner, std::int64_t skew,
                  std::chrono::nanoseconds send_delay = {})
      : ForwardingTransport(std::move(inner)),
        skew_(skew),
        send_delay_(send_delay) {}

  RequestPtr isend(int peer, const void* data, std::size_t bytes) override {
    if (send_delay_.count() > 0) std::this_thread::sleep_for(send_delay_);
    return ForwardingTransport::isend(peer, data, bytes);
  }
  std::int64_t now() const override {
    return ForwardingTransport::now() + skew_;
  }

 private:
  std::int64_t skew_;
  std::chrono::nanoseconds send_delay_;
};

}  // namespace ringlet::testing
