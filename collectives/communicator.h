#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <utility>

#include "kernels/reduce.h"
#include "kernels/runtime/buffer.h"
#include "kernels/runtime/dtype.h"

namespace ringlet {

// A collective in flight. Copies refer to the same operation.
class Work {
 public:
  // What a back end implements. Any thread may call it.
  class State {
   public:
    virtual ~State() = default;
    virtual void wait() = 0;
    virtual bool done() const = 0;
  };

  Work() = default;  // a finished one
  explicit Work(std::shared_ptr<State> state) : state_(std::move(state)) {}

  // Returns when the result is there; throws what the operation threw.
  void wait() {
    if (state_) state_->wait();
  }
  bool done() const { return !state_ || state_->done(); }

 private:
  std::shared_ptr<State> state_;
};

// Moves bytes between the ranks of one job; knows no tensor and no gradient.
//
// Every rank calls the same operations in the same order with the same counts.
// A Communicator is used by one thread at a time. Data lie in host memory. A
// world of one is no special case: each operation is then a no-op. Errors of
// the layers below are thrown as ringlet::Error; every later call then throws
// too. Of two communicators over MPI in one process, only one may have work in
// flight.
class Communicator {
 public:
  virtual ~Communicator() = default;

  // "solo", "ring" or "mpi".
  virtual std::string name() const = 0;
  virtual int rank() const = 0;
  virtual int size() const = 0;

  // data[i] becomes data[i] of rank 0 op ... op data[i] of the last rank, in
  // place and with the same bits on every rank. Counts from 0 to beyond 2^31
  // bytes. Integers that overflow are undefined: back ends differ (MPI may
  // saturate where the ring wraps). Ring cost: 2 (size-1)/size of the bytes
  // sent by each rank.
  virtual void all_reduce(void* data, std::size_t count, Dtype dtype,
                          ReduceOp op) = 0;

  // The same, running beside the caller. Several may be in flight; they run in
  // the order of the calls. `data` must stay untouched until the Work is waited
  // for. Where an exception keeps that from happening, work goes on until the
  // Communicator is destroyed: so `data` must outlive it, or come from
  // allocate().
  virtual Work all_reduce_async(void* data, std::size_t count, Dtype dtype,
                                ReduceOp op) = 0;

  // Copies `bytes` of the root's data to every rank.
  virtual void broadcast(void* data, std::size_t bytes, int root) = 0;

  // Returns when every rank has called it.
  virtual void barrier() = 0;

  // The memory that this back end reduces best; it is kept as long as the
  // Communicator lives. Plain memory here.
  virtual Buffer allocate(std::size_t bytes) { return Buffer::allocate(bytes); }
};

struct CommunicatorOptions {
  // Bytes of a slice: a chunk is sent in pieces of at most this size, so that
  // the next piece is on the wire while this one is being added. 256 KiB was
  // best at two ranks on two cores. At least 8, the largest element.
  std::size_t slice_bytes = 256 << 10;
  // Slices in flight per rank, each way.
  std::size_t window = 2;
};

// Makes the back end `name` over the job's ranks: "solo" (this process alone;
// refused where the launcher started more), "ring" (ours, over MPI) or "mpi"
// (MPI_Allreduce). The last two start MPI when needed (see mpi_scope.h); every
// rank makes and destroys them at the same points, on its main thread. Throws
// Error naming the known back ends otherwise.
std::unique_ptr<Communicator> make_communicator(
    const std::string& name, const CommunicatorOptions& options = {});

}  // namespace ringlet
