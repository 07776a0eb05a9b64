#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "collectives/transport.h"

namespace ringlet {

// Another transport, as it is: what derives from it changes one thing.
class ForwardingTransport : public Transport {
 public:
  explicit ForwardingTransport(std::unique_ptr<Transport> inner)
      : inner_(std::move(inner)) {}

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  std::vector<int> host_ranks() const override { return inner_->host_ranks(); }
  RequestPtr isend(int peer, const void* data, std::size_t bytes) override {
    return inner_->isend(peer, data, bytes);
  }
  RequestPtr irecv(int peer, void* data, std::size_t bytes) override {
    return inner_->irecv(peer, data, bytes);
  }
  void wait(Request& request) override { inner_->wait(request); }
  void cancel() noexcept override { inner_->cancel(); }
  bool is_cancelled() const noexcept override { return inner_->is_cancelled(); }
  void set_urgent(bool urgent) override { inner_->set_urgent(urgent); }
  int waiting_for() const override { return inner_->waiting_for(); }
  void reduced(std::size_t bytes) override { inner_->reduced(bytes); }
  std::int64_t now() const override { return inner_->now(); }

 protected:
  Transport& inner() const { return *inner_; }

 private:
  std::unique_ptr<Transport> inner_;
};

}  // namespace ringlet
