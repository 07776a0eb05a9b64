#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "collectives/gpu/gpu_message.h"
#include "collectives/host_memory.h"
#include "collectives/transport.h"
#include "kernels/runtime/cuda_library.h"

namespace ringlet {

// Messages between GPUs of one host, or between ranks that share a GPU, without
// the host's memory: each rank has some slots on its GPU for what comes from
// each other rank, and lets them write there (CUDA IPC).
//
//   sender                               receiver
//   waits for a free slot
//   stream: copy into it, event "sent"
//   tells: one more sent          --->   stream: wait for "sent", copy to its
//                                        place, event "freed"
//                                 <---   tells: one more freed
//   stream, before the slot's next
//   use: wait for "freed"
//
// They tell each other by counters in memory that the host's ranks share; so
// nobody waits for a GPU, and the streams are ordered by the events alone.
class IpcWays {
 public:
  // Collective over the ranks of `host`, which must outlive it; null, on all
  // ranks of this host, where CUDA or the system does not allow it.
  static std::unique_ptr<IpcWays> connect(Transport& host,
                                          std::size_t slot_bytes);
  ~IpcWays();
  IpcWays(const IpcWays&) = delete;
  IpcWays& operator=(const IpcWays&) = delete;

  // Collective over the ranks of this host, whose GPUs have done all.
  void close();

  bool reaches(int peer) const;
  Transport::RequestPtr isend(std::vector<GpuMessage*>& in_flight, int peer,
                              const void* data, std::size_t bytes);
  Transport::RequestPtr irecv(std::vector<GpuMessage*>& in_flight, int peer,
                              void* data, std::size_t bytes);

 private:
  // Messages that may be on their way from one rank to another.
  static constexpr std::size_t kSlots = 8;

  struct Card;
  struct Counters;
  struct Way;
  class Send;
  class Receive;

  IpcWays(Transport& host, std::size_t slot_bytes);
  void offer();
  void accept();
  bool all_are(bool fine);

  Way& way_to(int peer);
  void check_bytes(std::size_t bytes) const;

  Transport& host_;
  std::size_t slot_bytes_;
  HostMemory memory_;
  std::size_t ranks_, self_;                // of this host
  std::byte* slots_ = nullptr;              // on the GPU: kSlots for each rank
  std::vector<Card*> cards_;                // by rank, in memory that all share
  std::vector<std::unique_ptr<Way>> ways_;  // by rank; null: this one
};

}  // namespace ringlet
