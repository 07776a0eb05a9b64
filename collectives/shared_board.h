#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "collectives/communicator.h"
#include "collectives/host_memory.h"

namespace ringlet {

// Where the ranks of a host tell each other, in memory that they share, to
// which call they have come and how far they are in it. Telling is a store,
// hearing a load of a cache line that the other rank's core has just written:
// about 0.1 us from core to core.
class SharedBoard {
 public:
  // What fits beside a call: small arrays need no more than this.
  static constexpr std::size_t kSlotBytes = 16 << 10;

  // Where a call's arrays lie, for the other ranks; kPrivate: out of reach.
  static constexpr std::uint64_t kPrivate = ~std::uint64_t{0};
  struct Places {
    std::uint64_t input = kPrivate;
    std::uint64_t output = kPrivate;
  };

  // Collective over the ranks of `memory`, over which `transport` goes; both
  // outlive it. `spins`: see Backoff.
  SharedBoard(HostMemory& memory, Transport& transport, int spins);

  // Called while an exception unwinds, so that nobody waits for this rank.
  void give_up() noexcept;
  // As of a Transport.
  void cancel() noexcept { cancelled_ = true; }
  void set_urgent(bool urgent) noexcept { urgent_ = urgent; }

  // A call begins. What this rank puts in its own slot of `bytes`, instead of
  // places, is there for all once it has arrived; it is good until the call
  // after the next one.
  void begin() { ++sequence_; }
  std::byte* slot(int rank, std::size_t bytes) const;

  // Says which call this rank has come to; with `places`, where its arrays are.
  void arrive(const Collective& call, const Places* places = nullptr);
  // Returns when all ranks have come to a call: whether it is the same. Throws
  // Cancelled where a rank has given up.
  bool all_agree();
  // The same, but throws MismatchError where they do not.
  void await_all();
  // The call that a rank has come to.
  Collective call_of(int rank) const;
  // Of the call that all have come to.
  Places places(int rank) const;

  // Returns when all ranks have called it as often as this one.
  void meet();

  // The rank, as the job counts it, without which this one cannot go on now;
  // kNobody where there is none. Any thread may ask.
  int waiting_for() const { return waiting_for_; }

 private:
  struct alignas(64) Line;
  struct Rank;

  Rank& of(int rank) const;
  Line& line_of(int rank) const;
  void wait_for(const std::atomic<std::uint64_t>& counter, std::uint64_t value,
                int rank);
  [[noreturn]] void throw_mismatch() const;

  HostMemory& memory_;
  int spins_;
  std::atomic<int> gave_up_first_;  // of those who have, once this rank must
  Buffer own_;
  std::vector<Rank*> ranks_;
  std::uint64_t sequence_ = 0;  // of this rank's last call, from 1
  std::uint64_t meetings_ = 0;
  std::atomic<bool> cancelled_ = false;
  std::atomic<bool> urgent_ = true;
  std::atomic<int> waiting_for_ = kNobody;
};

}  // namespace ringlet
