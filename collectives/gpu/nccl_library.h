#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "collectives/communicator.h"

namespace ringlet {

// One rank's end of an NCCL communicator. Its calls run on a stream of their
// own, of high priority: after all that the thread's stream holds when they are
// made, beside what it is given then, and before what it is given after wait().
// May be recorded in a graph.
class NcclRank {
 public:
  virtual ~NcclRank() = default;

  // Enqueues it; arrays lie on this rank's GPU. wait() does not hold the host
  // up: it lets the thread's stream wait. Throws what NCCL has to say, also of
  // an earlier call, after which this communicator is gone.
  virtual Work start(const Collective& call) = 0;
};

// NCCL is in a library of its own, libringlet_nccl.so, which is loaded when
// somebody asks for it.
class NcclLibrary {
 public:
  static constexpr std::size_t kIdBytes = 128;

  virtual std::string version() = 0;  // "NCCL 2.28.9"
  // What names a new communicator: made by one rank, told to all.
  virtual void make_id(void* id) = 0;
  // All ranks together, each on the GPU that its thread uses; `stream` is that
  // thread's.
  virtual std::unique_ptr<NcclRank> connect(const void* id, int rank, int size,
                                            void* stream) = 0;

 protected:
  ~NcclLibrary() = default;
};

}  // namespace ringlet

// In libringlet_nccl.so.
extern "C" ringlet::NcclLibrary* ringlet_nccl_library();
