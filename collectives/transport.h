#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/runtime/error.h"

namespace ringlet {

// What a wait throws after Transport::cancel: the consequence of another error,
// which is the one to report.
class Cancelled : public Error {
 public:
  using Error::Error;
};

// No rank, where one could be.
inline constexpr int kNobody = -1;

// Messages between two ranks: all that a collective algorithm sees of the
// world. Over MPI (mpi_transport), or between threads as ranks in one process
// (thread_transport), so that a unit test can run eight ranks.
//
// Messages between a pair of ranks arrive in the order they were sent; the
// receiver must ask for exactly the bytes that were sent, or Error is thrown.
// Messages of zero bytes are legal. A Transport is used by one thread at a
// time, but for cancel() and set_urgent(), which any thread may call.
class Transport {
 public:
  // A message in flight. It must be waited for before it is destroyed, unless
  // an exception unwinds.
  class Request {
   public:
    virtual ~Request() = default;
    // True when the message has left or arrived. Makes progress.
    virtual bool test() = 0;
  };
  using RequestPtr = std::unique_ptr<Request>;

  virtual ~Transport() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  // The ranks that can map this one's memory, itself among them, rising.
  virtual std::vector<int> host_ranks() const { return {rank()}; }

  // Starts to send `bytes` from `data`, which must stay untouched until the
  // request is done. A send may wait for its receive to be posted.
  virtual RequestPtr isend(int peer, const void* data, std::size_t bytes) = 0;
  virtual RequestPtr irecv(int peer, void* data, std::size_t bytes) = 0;

  // Returns when the request is done. Spins for a moment, then gives the core
  // away, so that ranks that share cores do not stop each other.
  virtual void wait(Request& request) = 0;

  // Makes the wait that is under way, and every later one whose message is not
  // there yet, throw Cancelled: for a rank that gives up after an error and
  // must get its thread back.
  virtual void cancel() noexcept = 0;
  // Whether waits throw it, for who polls with test().
  virtual bool is_cancelled() const noexcept = 0;

  // Whether somebody is held up by the waits that follow (true at first). If
  // not, a wait that has to poll sleeps in between and leaves the core to those
  // who compute.
  virtual void set_urgent(bool) {}

  // The rank whose part a wait is under way for; kNobody where there is none or
  // it is not known. Any thread may ask.
  virtual int waiting_for() const { return kNobody; }

  // Nanoseconds on this rank's clock, which only moves forward: the host's
  // steady clock, or a virtual one where the network is simulated.
  virtual std::int64_t now() const {
    return std::chrono::steady_clock::now().time_since_epoch() /
           std::chrono::nanoseconds(1);
  }
  // The rank has just combined `bytes` that arrived with its own: what that
  // costs on a virtual clock.
  virtual void reduced(std::size_t) {}
};

}  // namespace ringlet
