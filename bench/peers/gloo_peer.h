#pragma once

#include <memory>

#include "collectives/communicator.h"

namespace ringlet {

// Gloo's all-reduce, the one that PyTorch's DDP uses on the CPU, over TCP on
// the loopback device: a peer to measure beside. Sums of f32, f64, i32 and i64
// only. All ranks must be on one host. Throws Error where the program was built
// without Gloo.
std::unique_ptr<Communicator> make_gloo_peer();

}  // namespace ringlet
