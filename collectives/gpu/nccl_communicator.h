#pragma once

#include <memory>
#include <string>

#include "collectives/communicator.h"

namespace ringlet {

// Why NCCL cannot be had; empty where it can. Loads it.
std::string why_no_nccl();

// "NCCL 2.28.9"; only where there is NCCL.
std::string nccl_version();

// Collectives of NCCL on arrays in the GPUs' memory, one GPU for each rank: on
// a stream of their own, after what the calling thread has enqueued; their Work
// is an event, and wait() lets the thread's stream wait, not the host. Belongs
// to the thread that makes it. May be recorded in a graph.
//
// `host`, over the same ranks, must outlive it: it brings the ranks together,
// has the barrier, and compares what the ranks have called: at the start of a
// graph's recording (agree_on_calls), and all kCallsToCompare calls; where they
// differ, all throw MismatchError. Until then NCCL itself may hang.
inline constexpr std::size_t kCallsToCompare = 128;
std::unique_ptr<Communicator> make_nccl_communicator(Communicator& host);

}  // namespace ringlet
