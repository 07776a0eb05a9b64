#include "engine/data/sampler.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "kernels/runtime/check.h"
#include "kernels/runtime/philox.h"

namespace ringlet {

DistributedSampler::DistributedSampler(const SamplerOptions& options)
    : options_(options) {
  RINGLET_CHECK(options.global_batch > 0, "a global batch of 0 pictures");
  RINGLET_CHECK(options.rank < options.world_size, "rank {} in a world of {}",
                options.rank, options.world_size);
  RINGLET_CHECK(options.shards > 0, "a rank without a shard");
  RINGLET_CHECK(options.count <= std::numeric_limits<std::uint32_t>::max(),
                "{} pictures, at most 2^32 - 1 have an index", options.count);
}

std::size_t DistributedSampler::steps() const {
  return (options_.count + options_.global_batch - 1) / options_.global_batch;
}

std::vector<std::uint32_t> DistributedSampler::order(
    std::uint32_t epoch) const {
  std::vector<std::uint32_t> order(options_.count);
  std::iota(order.begin(), order.end(), 0u);
  if (!options_.shuffle) return order;
  // Fisher-Yates: each of the count! orders is equally likely.
  PhiloxStream random(options_.seed, RandomPurpose::kSampleOrder, epoch, 0);
  for (auto left = static_cast<std::uint32_t>(order.size()); left > 1; --left) {
    std::swap(order[left - 1], order[random.below(left)]);
  }
  return order;
}

DistributedSampler::Share DistributedSampler::share(std::size_t step) const {
  RINGLET_CHECK(step < steps(), "step {} of an epoch of {}", step, steps());
  const std::size_t first = step * options_.global_batch;
  const std::size_t global =
      std::min(options_.global_batch, options_.count - first);
  const std::size_t blocks = options_.world_size * options_.shards;
  const std::size_t base = global / blocks;
  const std::size_t remainder = global % blocks;
  const std::size_t own = options_.rank * options_.shards;
  const std::size_t begin = first + own * base + std::min(own, remainder);
  Share share{begin, 0, global, {}, 2 * first + global - 1 - begin};
  for (std::size_t block = own; block < own + options_.shards; ++block) {
    share.shards.push_back(base + (block < remainder ? 1 : 0));
    share.count += share.shards.back();
  }
  return share;
}

}  // namespace ringlet
