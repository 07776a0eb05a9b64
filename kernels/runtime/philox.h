#pragma once

#include <array>
#include <cstdint>

namespace ringlet {

// Counter-based random numbers: Philox4x32-10 of Salmon et al., "Parallel
// random numbers: as easy as 1, 2, 3" (SC 2011). The numbers are a pure
// function of (key, counter), so any thread or rank that asks for the same
// picture of the same epoch draws the same augmentation, in any order.
// Cost: about 40 multiplications for four 32-bit numbers.
using PhiloxBlock = std::array<std::uint32_t, 4>;

constexpr PhiloxBlock philox(std::uint64_t key, PhiloxBlock counter) {
  constexpr std::uint64_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
  constexpr std::uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;
  auto key0 = static_cast<std::uint32_t>(key);
  auto key1 = static_cast<std::uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product0 = kMultiplier0 * counter[0];
    const std::uint64_t product1 = kMultiplier1 * counter[2];
    counter = {static_cast<std::uint32_t>(product1 >> 32) ^ counter[1] ^ key0,
               static_cast<std::uint32_t>(product1),
               static_cast<std::uint32_t>(product0 >> 32) ^ counter[3] ^ key1,
               static_cast<std::uint32_t>(product0)};
    key0 += kWeyl0;
    key1 += kWeyl1;
  }
  return counter;
}

// Which numbers a stream of draws is for: keeps the uses of one seed apart.
enum class RandomPurpose : std::uint32_t {
  kInitialization = 1,
  kSampleOrder = 2,
  kAugmentation = 3,
  kSyntheticData = 4,
  kMixup = 5,
};

// A stream of draws for one (seed, purpose, epoch or group, index).
class PhiloxStream {
 public:
  constexpr PhiloxStream(std::uint64_t seed, RandomPurpose purpose,
                         std::uint32_t group, std::uint32_t index)
      : key_(seed),
        counter_{0, static_cast<std::uint32_t>(purpose), group, index} {}

  constexpr std::uint32_t next() {
    if (used_ == 4) {
      block_ = philox(key_, counter_);
      ++counter_[0];
      used_ = 0;
    }
    return block_[used_++];
  }

  // Uniform in [0, bound), bound > 0; bias below bound / 2^32.
  constexpr std::uint32_t below(std::uint32_t bound) {
    return static_cast<std::uint32_t>(
        (static_cast<std::uint64_t>(next()) * bound) >> 32);
  }

  // Uniform in [0, 1), a multiple of 2^-24.
  constexpr float uniform() {
    return static_cast<float>(next() >> 8) * 0x1p-24f;
  }

  // Uniform in [low, high).
  constexpr float uniform(float low, float high) {
    return low + (high - low) * uniform();
  }

 private:
  std::uint64_t key_;
  PhiloxBlock counter_;
  PhiloxBlock block_{};
  std::size_t used_ = 4;
};

}  // namespace ringlet
