#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace ringlet {

// Which pictures which rank sees in which step, as arithmetic alone: every
// rank computes the same answers without a message.
struct SamplerOptions {
  std::size_t count;         // pictures in the set
  std::size_t global_batch;  // pictures of all ranks in a step
  std::uint64_t seed = 0;
  std::size_t rank = 0;
  std::size_t world_size = 1;
  bool shuffle = true;     // false: 0, 1, 2, ... in each epoch (evaluation)
  std::size_t shards = 1;  // of each rank: parts of its share of a step
};

// A step of an epoch takes the next `global_batch` pictures of the epoch's
// order, the last step what is left; the ranks divide them into contiguous
// blocks, in the order of ranks, and the first ranks take the remainder:
//
//   order    | 7 2 9 0 5 3 | 8 1 6 4 |     10 pictures, global batch 6
//   step     |      0      |    1    |
//   4 ranks  | 7 2|9 0|5|3 | 8|1|6|4 |
//
// So an epoch holds each picture exactly once over all ranks, and the blocks
// of N ranks joined are the batch of one rank. Where a rank's part has shards,
// the step is divided so over all shards of all ranks: N ranks with S shards
// each have the blocks of N x S ranks.
class DistributedSampler {
 public:
  explicit DistributedSampler(const SamplerOptions& options);

  const SamplerOptions& options() const { return options_; }
  // Steps of an epoch, the same on all ranks.
  std::size_t steps() const;

  // The order of all pictures in `epoch`: a pure function of (seed, epoch).
  // Cost: some 5 ns a picture; ask once per epoch.
  std::vector<std::uint32_t> order(std::uint32_t epoch) const;

  // This rank's part of a step: positions [begin, begin + count) of the
  // order. The count may be 0.
  struct Share {
    std::size_t begin;
    std::size_t count;
    std::size_t global_count;         // pictures of all ranks in this step
    std::vector<std::size_t> shards;  // pictures of each, in their order

    // Pictures are mixed with those at the mirrored place of the whole step:
    // the one at begin + i with that at partner - i.
    std::size_t partner;
  };
  Share share(std::size_t step) const;

 private:
  SamplerOptions options_;
};

}  // namespace ringlet
