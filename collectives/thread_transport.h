#pragma once

#include <memory>

#include "collectives/transport.h"

namespace ringlet {

class ThreadChannels;

// The ranks of one job as threads of one process: for tests and lessons. Make
// one world, then one transport per thread.
//
// Sends are synchronous, the strictest behaviour that MPI allows: a send is
// done only when its receive has taken the data, so an algorithm that leans on
// buffered sends hangs here and not on somebody's cluster. Waits sleep on a
// condition variable; a message costs a few microseconds.
class ThreadWorld {
 public:
  explicit ThreadWorld(int size);
  // As if each `ranks_per_host` of them were on a host of their own.
  ThreadWorld(int size, int ranks_per_host);
  virtual ~ThreadWorld();
  ThreadWorld(const ThreadWorld&) = delete;
  ThreadWorld& operator=(const ThreadWorld&) = delete;

  int size() const;

  // The world's shared state outlives the ThreadWorld while a transport lives.
  std::unique_ptr<Transport> transport(int rank);

  // Makes all waits, pending and future, of all ranks throw Cancelled: call it
  // when a rank's thread has failed, or the others wait for it for ever.
  void abort() noexcept;

 protected:
  const std::shared_ptr<ThreadChannels>& channels() const { return channels_; }

 private:
  virtual std::unique_ptr<Transport> make_transport(int rank);

  std::shared_ptr<ThreadChannels> channels_;
  int ranks_per_host_;
};

}  // namespace ringlet
