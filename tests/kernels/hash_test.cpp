#include <array>
#include <bit>
#include <random>
#include <set>

#include "kernels/backend.h"
#include "kernels/runtime/threads.h"
#include "support/catch.h"

using namespace ringlet;

namespace {

std::uint64_t hash(const std::vector<float>& values) {
  const FlatRange all{0, values.size()};
  std::uint64_t result = 1;
  backend(Device::kCpu).optim.hash({values.data(), &all, 1, &result});
  return result;
}

}  // namespace

TEST_CASE("a hash changes with any bit, and any two that change places") {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  std::vector<float> values(1000);
  for (float& value : values) value = normal(random);
  std::set<std::uint64_t> seen{hash(values)};
  for (std::size_t i = 0; i < values.size(); i += 7) {
    for (int bit = 0; bit < 32; ++bit) {
      const float before = values[i];
      values[i] = std::bit_cast<float>(std::bit_cast<std::uint32_t>(before) ^
                                       1u << bit);
      CHECK(seen.insert(hash(values)).second);
      values[i] = before;
    }
    std::swap(values[i], values[(i + 1) % values.size()]);
    CHECK(seen.insert(hash(values)).second);
  }
}

TEST_CASE("hashes are of their ranges alone, whatever the threads") {
  std::vector<float> values(300000);
  std::mt19937 random(8);
  for (float& value : values) value = static_cast<float>(random());
  const std::vector<FlatRange> ranges{{0, 3}, {3, 0}, {3, 250000}, {9, 250000}};
  const int all = kernel_threads();  // one under ThreadSanitizer
  const auto hashes = [&](int threads) {
    set_kernel_threads(threads);
    std::vector<std::uint64_t> result(ranges.size(), 1);
    backend(Device::kCpu)
        .optim.hash(
            {values.data(), ranges.data(), ranges.size(), result.data()});
    set_kernel_threads(all);
    return result;
  };
  const std::vector<std::uint64_t> alone = hashes(1);
  CHECK(hashes(all) == alone);
  CHECK(alone[1] == 0);
  CHECK(alone[2] == hash({values.begin() + 3, values.begin() + 250003}));
  CHECK(alone[2] != alone[3]);
  values[3] = 0;
  const std::vector<std::uint64_t> changed = hashes(all);
  CHECK(changed[0] == alone[0]);
  CHECK(changed[2] != alone[2]);
  CHECK(changed[3] == alone[3]);
}

TEST_CASE("SGD hashes what it leaves, in steps to skip too") {
  constexpr std::size_t kCount = 100003;
  // Ranges within a block of the caches, over several, and one of none.
  const std::vector<FlatRange> ranges{
      {0, 5}, {5, 40000}, {40005, 0}, {40005, 59990}};
  std::mt19937 random(9);
  std::normal_distribution<float> normal;
  std::vector<float> grad(kCount), momentum(kCount), parameter(kCount);
  for (float& value : grad) value = normal(random);
  for (float& value : parameter) value = normal(random);
  const std::vector<float> before = parameter;
  OptimKernels& kernels = backend(Device::kCpu).optim;
  for (const std::uint32_t skip : {1u, 0u}) {
    const SgdStep step{.lr = 0.1f, .skip = skip};
    std::vector<std::uint64_t> got(2 * ranges.size(), 1), expected = got;
    const auto args = [&](std::vector<std::uint64_t>& hashes) {
      return std::array{
          HashArgs{grad.data(), ranges.data(), ranges.size(), hashes.data()},
          HashArgs{parameter.data(), ranges.data(), ranges.size(),
                   hashes.data() + ranges.size()}};
    };
    const auto along = args(got);
    kernels.sgd({.count = kCount,
                 .grad = grad.data(),
                 .momentum_buffer = momentum.data(),
                 .parameter = parameter.data(),
                 .step = &step,
                 .momentum = 0.9f,
                 .weight_decay = 0,
                 .nesterov = false,
                 .hashes = along});
    CHECK((parameter == before) == (skip != 0));
    for (const HashArgs& one : args(expected)) kernels.hash(one);
    CHECK(got == expected);
  }
}
