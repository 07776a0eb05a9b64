#include "kernels/cpu/vec.h"

#include <array>
#include <bit>
#include <vector>

#include "support/catch.h"

using namespace ringlet;
using namespace ringlet::cpu;

TEMPLATE_TEST_CASE_SIG("vectors round to bf16 as single floats do", "",
                       ((std::size_t B), B), 8, 16) {
  // All upper halves of a float, and lower ones around the middle.
  constexpr std::array<std::uint32_t, 6> kLower{0,      1,      0x7fff,
                                                0x8000, 0x8001, 0xffff};
  std::vector<float> values;
  for (std::uint32_t upper = 0; upper <= 0xffff; ++upper) {
    for (const std::uint32_t lower : kLower) {
      values.push_back(std::bit_cast<float>(upper << 16 | lower));
    }
  }
  std::vector<BFloat16> got(values.size());
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < values.size(); i += B) {
    store<B>(got.data() + i, load<B>(values.data() + i));
    std::array<float, B> widened;
    store<B>(widened.data(), load<B>(got.data() + i));
    for (std::size_t j = 0; j < B; ++j) {
      const BFloat16 wanted = narrow<BFloat16>(values[i + j]);
      wrong += got[i + j].bits != wanted.bits;
      wrong += std::bit_cast<std::uint32_t>(widened[j]) !=
               std::bit_cast<std::uint32_t>(widen(wanted));
    }
  }
  CHECK(wrong == 0);
}
