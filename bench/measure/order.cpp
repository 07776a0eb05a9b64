#include "bench/measure/order.h"

#include <numeric>
#include <random>
#include <utility>

namespace ringlet {
namespace {

// Uniform in [0, n), without the bias of a plain remainder: numbers below
// 2^64 mod n are drawn again. The standard's own distributions differ between
// libraries; its engines do not.
std::uint64_t below(std::uint64_t n, std::mt19937_64& random) {
  const std::uint64_t refused = (0 - n) % n;
  std::uint64_t drawn = random();
  while (drawn < refused) drawn = random();
  return drawn % n;
}

}  // namespace

std::vector<std::size_t> shuffled(std::size_t n, std::uint64_t seed,
                                  std::uint64_t round) {
  // A seed_seq takes 32 bits of each.
  std::seed_seq seeds{seed, seed >> 32, round, round >> 32};
  std::mt19937_64 random(seeds);
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  for (std::size_t left = n; left > 1; --left) {  // Fisher and Yates
    std::swap(order[left - 1], order[below(left, random)]);
  }
  return order;
}

}  // namespace ringlet
