#include "engine/data/sampler.h"

#include <algorithm>
#include <set>

#include "kernels/runtime/error.h"
#include "support/catch.h"

using namespace ringlet;

namespace {

// The pictures of one rank's part of a step.
std::vector<std::uint32_t> block(const SamplerOptions& options,
                                 std::uint32_t epoch, std::size_t step) {
  const DistributedSampler sampler(options);
  const std::vector<std::uint32_t> order = sampler.order(epoch);
  const DistributedSampler::Share share = sampler.share(step);
  const auto begin = order.begin() + static_cast<std::ptrdiff_t>(share.begin);
  return {begin, begin + static_cast<std::ptrdiff_t>(share.count)};
}

}  // namespace

TEST_CASE("The ranks' blocks joined are the one-rank batch") {
  const std::size_t count = GENERATE(1, 7, 64, 101);
  const std::size_t global_batch = GENERATE(1, 5, 16);
  const bool shuffle = GENERATE(false, true);
  for (std::size_t world_size = 1; world_size <= 8; ++world_size) {
    SamplerOptions one{count, global_batch, 3, 0, 1, shuffle};
    const std::size_t steps = DistributedSampler(one).steps();
    std::vector<std::uint32_t> seen;
    for (std::size_t step = 0; step < steps; ++step) {
      const std::vector<std::uint32_t> whole = block(one, 2, step);
      std::vector<std::uint32_t> joined;
      std::size_t smallest = whole.size(), previous = whole.size();
      for (std::size_t rank = 0; rank < world_size; ++rank) {
        SamplerOptions mine{count, global_batch, 3, rank, world_size, shuffle};
        CHECK(DistributedSampler(mine).steps() == steps);
        CHECK(DistributedSampler(mine).share(step).global_count ==
              whole.size());
        const std::vector<std::uint32_t> part = block(mine, 2, step);
        CHECK(part.size() <= previous);  // the remainder goes to the first
        previous = part.size();
        smallest = std::min(smallest, part.size());
        joined.insert(joined.end(), part.begin(), part.end());
      }
      CHECK(joined == whole);
      CHECK(smallest == whole.size() / world_size);
      seen.insert(seen.end(), whole.begin(), whole.end());
    }
    std::sort(seen.begin(), seen.end());
    std::vector<std::uint32_t> all(count);
    for (std::size_t i = 0; i < count; ++i) {
      all[i] = static_cast<std::uint32_t>(i);
    }
    CHECK(seen == all);  // each picture exactly once
  }
}

TEST_CASE("Shards are the blocks of as many ranks") {
  const SamplerOptions options{
      .count = 101, .global_batch = 30, .seed = 1, .world_size = 12};
  for (std::size_t rank = 0; rank < 3; ++rank) {
    SamplerOptions sharded = options;
    sharded.rank = rank;
    sharded.world_size = 3;
    sharded.shards = 4;
    const DistributedSampler sampler(sharded);
    for (std::size_t step = 0; step < sampler.steps(); ++step) {
      const DistributedSampler::Share share = sampler.share(step);
      std::size_t begin = share.begin;
      REQUIRE(share.shards.size() == 4);
      for (std::size_t shard = 0; shard < 4; ++shard) {
        SamplerOptions alone = options;
        alone.rank = 4 * rank + shard;
        const auto expected = DistributedSampler(alone).share(step);
        CHECK(begin == expected.begin);
        CHECK(share.shards[shard] == expected.count);
        CHECK(share.global_count == expected.global_count);
        begin += expected.count;
      }
      CHECK(share.begin + share.count == begin);
    }
  }
}

TEST_CASE("All batches but the last are full") {
  const DistributedSampler sampler({10, 4});
  REQUIRE(sampler.steps() == 3);
  CHECK(sampler.share(0).global_count == 4);
  CHECK(sampler.share(1).global_count == 4);
  CHECK(sampler.share(2).global_count == 2);
}

TEST_CASE("The order is a function of seed and epoch alone") {
  const auto order = [](std::uint64_t seed, std::uint32_t epoch,
                        std::size_t rank) {
    return DistributedSampler({1000, 32, seed, rank, 4}).order(epoch);
  };
  CHECK(order(1, 1, 0) == order(1, 1, 3));
  CHECK(order(1, 1, 0) != order(1, 2, 0));
  CHECK(order(1, 1, 0) != order(2, 1, 0));
}

TEST_CASE("Every order of four pictures is about equally frequent") {
  std::multiset<std::vector<std::uint32_t>> orders;
  const DistributedSampler sampler({4, 1});
  for (std::uint32_t epoch = 0; epoch < 24'000; ++epoch) {
    orders.insert(sampler.order(epoch));
  }
  std::vector<std::uint32_t> order{0, 1, 2, 3};
  do {
    const std::size_t times = orders.count(order);  // 1000, sigma 31
    CHECK(times > 850);
    CHECK(times < 1150);
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_CASE("Without shuffle every epoch is in order") {
  SamplerOptions options{5, 2};
  options.shuffle = false;
  CHECK(DistributedSampler(options).order(7) ==
        std::vector<std::uint32_t>{0, 1, 2, 3, 4});
}

TEST_CASE("An empty set has no steps") {
  CHECK(DistributedSampler({0, 4}).steps() == 0);
}

TEST_CASE("A sampler refuses what makes no sense") {
  CHECK_THROWS_AS(DistributedSampler({10, 0}), Error);
  CHECK_THROWS_AS(DistributedSampler({10, 4, 0, 2, 2}), Error);
  CHECK_THROWS_AS(DistributedSampler({10, 4}).share(3), Error);
}
