#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace ringlet {

// The numbers 0 to n - 1 in an order that is random but a function of (seed,
// round) alone: the same on all ranks and with any standard library. What is
// compared is measured in a new order in each round, so that neither a drift of
// the machine nor what ran just before always meets the same candidate.
std::vector<std::size_t> shuffled(std::size_t n, std::uint64_t seed,
                                  std::uint64_t round);

}  // namespace ringlet
