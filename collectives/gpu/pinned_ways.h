#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "collectives/gpu/gpu_message.h"
#include "collectives/transport.h"
#include "kernels/runtime/buffer.h"
#include "kernels/runtime/cuda_library.h"

namespace ringlet {

// Messages between GPUs by way of their hosts. Each comes down into pinned
// memory, goes as a message of the host, and is copied up where it is wanted.
// Copies have streams of their own, one each way, so that of three messages in
// flight
//
//   one comes down      | 0 | 1 | 2 | 3 |
//   one is on the wire      | 0 | 1 | 2 | 3 |
//   one goes up                 | 0 | 1 | 2 | 3 |
class PinnedWays {
 public:
  explicit PinnedWays(Transport& host) : host_(host) {}
  ~PinnedWays();
  PinnedWays(const PinnedWays&) = delete;
  PinnedWays& operator=(const PinnedWays&) = delete;

  Transport::RequestPtr isend(std::vector<GpuMessage*>& in_flight, int peer,
                              const void* data, std::size_t bytes);
  Transport::RequestPtr irecv(std::vector<GpuMessage*>& in_flight, int peer,
                              void* data, std::size_t bytes);

 private:
  class Send;
  class Receive;

  // Pinned memory that one message uses at a time.
  struct Slot {
    Buffer memory;
    std::unique_ptr<cuda::Event> ready, copied;
    bool taken = true;
  };
  std::shared_ptr<Slot> take_slot(std::size_t bytes);
  // On that stream, behind what the used one holds.
  static void copy_on(cuda::Stream& stream, Slot& slot, void* to,
                      const void* from, std::size_t bytes);

  Transport& host_;
  std::vector<std::shared_ptr<Slot>> slots_;
  std::unique_ptr<cuda::Stream> down_ = cuda::library().make_stream();
  std::unique_ptr<cuda::Stream> up_ = cuda::library().make_stream();
};

}  // namespace ringlet
