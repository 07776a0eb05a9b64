#pragma once

#include <memory>
#include <utility>

#include "collectives/transport.h"

namespace ringlet::testing {

// A transport whose clock is off by so many nanoseconds.
class SkewedTransport final : public Transport {
 public:
  SkewedTransport(std::unique_ptr<Transport> inner, std::int64_t skew)
      : inner_(std::move(inner)), skew_(skew) {}

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  RequestPtr isend(int peer, const void* data, std::size_t bytes) override {
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
};

}  // namespace ringlet::testing
