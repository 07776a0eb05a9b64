#pragma once

#include <algorithm>
#include <vector>

#include "collectives/transport.h"

namespace ringlet {

// A message of a GpuTransport: one that takes several steps of the host, which
// it takes when it is tested. Those in flight are known to all.
class GpuMessage : public Transport::Request {
 public:
  GpuMessage(std::vector<GpuMessage*>& in_flight, int peer)
      : in_flight_(in_flight), peer_(peer) {
    in_flight_.push_back(this);
  }
  ~GpuMessage() override { forget(); }
  GpuMessage(const GpuMessage&) = delete;
  GpuMessage& operator=(const GpuMessage&) = delete;

  int peer() const { return peer_; }
  bool test() final {
    if (!done_ && advance()) {
      done_ = true;
      forget();
    }
    return done_;
  }

 private:
  // Takes the steps that can be taken; true after the last one.
  virtual bool advance() = 0;

  void forget() { std::erase(in_flight_, this); }

  std::vector<GpuMessage*>& in_flight_;
  int peer_;
  bool done_ = false;
};

}  // namespace ringlet
