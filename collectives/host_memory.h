#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "collectives/transport.h"
#include "kernels/runtime/buffer.h"

namespace ringlet {

// Where bytes lie in what the ranks of a host share.
struct SharedPlace {
  std::uint64_t region = 0;  // by the order in which they were made
  std::uint64_t offset = 0;  // below 2^48

  std::uint64_t pack() const { return region << 48 | offset; }
  static SharedPlace unpack(std::uint64_t word) {
    return {word >> 48, word & ((std::uint64_t{1} << 48) - 1)};
  }
};

// Memory that the ranks of one host have all mapped: each reads what another
// has computed, and writes where another will look, without a copy in between.
//
// A rank's memory is an anonymous file (memfd), which the others open through
// /proc: it has no name, so nothing is left behind however a rank ends, and the
// size of /dev/shm plays no part. Ranks that are threads of one process have
// one mapping, and a rank that shares with nobody needs no file.
class HostMemory {
 public:
  // `ranks` of a job, in rising order, this one among them: those who share.
  HostMemory(std::vector<int> ranks, int self);
  ~HostMemory();
  HostMemory(const HostMemory&) = delete;
  HostMemory& operator=(const HostMemory&) = delete;

  // Counted among those who share.
  int rank() const { return rank_; }
  // As the job counts the rank `of` (0 .. size()-1).
  int job_rank(int of) const { return ranks_[static_cast<std::size_t>(of)]; }
  int size() const { return static_cast<int>(ranks_.size()); }
  // All of them, as the job counts.
  const std::vector<int>& ranks() const { return ranks_; }

  // `bytes` of this rank's, set to 0, in a region that all of them make
  // together; the bytes may differ. It stays mapped as long as the HostMemory.
  // With a `path` it is a new file of that name, readable by its owner alone,
  // which outlives the rank. Collective over the ranks; throws Error on all of
  // them, naming the first that could not and why. Cost: two messages between
  // any two ranks, and the kernel's clearing of the pages.
  Buffer allocate(Transport& transport, std::size_t bytes,
                  const std::string& path = {});

  // Of this rank's memory; nothing where not all of it lies in one region.
  std::optional<SharedPlace> find(const void* data, std::size_t bytes) const;

  // The address here of what the rank `of` (0 .. size()-1) calls `place`.
  std::byte* at(int of, SharedPlace place) const;

 private:
  class Mapping;
  struct Offer;
  using Region = std::vector<std::shared_ptr<Mapping>>;  // by rank

  Region map_all(const std::vector<Offer>& offers, int* failed) const;

  std::vector<int> ranks_;
  int rank_;
  std::vector<Region> regions_;
};

}  // namespace ringlet
