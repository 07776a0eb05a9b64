#include "kernels/reduce.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "kernels/runtime/half.h"
#include "support/catch.h"

using namespace ringlet;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// The value of binary16's bits by its definition.
double half_by_definition(std::uint16_t bits) {
  const int exponent = (bits >> 10) & 31;
  const int fraction = bits & 1023;
  const double sign = (bits & 0x8000) != 0 ? -1 : 1;
  if (exponent == 0) return sign * std::ldexp(fraction, -24);
  return sign * std::ldexp(1024 + fraction, exponent - 25);
}

}  // namespace

TEST_CASE("every finite half widens to its value, and narrows back") {
  std::size_t wrong = 0;
  for (std::uint32_t i = 0; i < 0x10000; ++i) {
    const auto bits = static_cast<std::uint16_t>(i);
    if (((bits >> 10) & 31) == 31) continue;
    const float value = widen(Half{bits});
    wrong +=
        value != half_by_definition(bits) || narrow<Half>(value).bits != bits;
  }
  CHECK(wrong == 0);
  CHECK(widen(Half{0x7c00}) == kInfinity);
  CHECK(std::isnan(widen(Half{0x7e01})));
}

TEST_CASE("every bfloat16 widens and narrows back") {
  std::size_t wrong = 0;
  for (std::uint32_t i = 0; i < 0x10000; ++i) {
    const BFloat16 half{static_cast<std::uint16_t>(i)};
    const float value = widen(half);
    if (std::isnan(value)) {
      wrong += !std::isnan(widen(narrow<BFloat16>(value)));
    } else {
      wrong += narrow<BFloat16>(value).bits != half.bits;
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("narrowing rounds to nearest, ties to even") {
  CHECK(widen(narrow<Half>(2049)) == 2048);  // between 2048 and 2050
  CHECK(widen(narrow<Half>(2051)) == 2052);
  CHECK(widen(narrow<Half>(65519)) == 65504);
  CHECK(widen(narrow<Half>(65520)) == kInfinity);
  CHECK(widen(narrow<BFloat16>(257)) == 256);  // between 256 and 258
  CHECK(widen(narrow<BFloat16>(259)) == 260);
  CHECK(widen(narrow<BFloat16>(std::numeric_limits<float>::max())) ==
        kInfinity);
  // A NaN whose upper bits alone would be an infinity.
  CHECK(std::isnan(widen(narrow<BFloat16>(std::bit_cast<float>(0x7f800001u)))));
}

// Sums of 2^a operands that stand ready, the larger ones before.
float tree_of(const std::vector<float>& operands) {
  std::vector<std::pair<std::size_t, float>> sums;
  for (const float operand : operands) {
    sums.emplace_back(1, operand);
    while (sums.size() > 1 &&
           sums.back().first == sums[sums.size() - 2].first) {
      const auto right = sums.back();
      sums.pop_back();
      sums.back() = {2 * right.first, sums.back().second + right.second};
    }
  }
  float sum = sums.back().second;
  for (std::size_t i = sums.size() - 1; i-- > 0;) sum = sums[i].second + sum;
  return sum;
}

// Into one array, into those of all operands, and into some others.
TEST_CASE("a tree adds in its order, whatever the counts") {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  for (const std::size_t count : {0, 1, 31, 512, 513, 1300}) {
    for (std::size_t operands = 1; operands <= 17; ++operands) {
      for (const std::size_t results :
           {std::size_t{1}, operands, operands + 1}) {
        std::vector<std::vector<float>> data(operands + 1,
                                             std::vector<float>(count));
        for (auto& row : data) {
          for (float& value : row) value = normal(random);
        }
        std::vector<float> expected;
        for (std::size_t i = 0; i < count; ++i) {
          std::vector<float> at;
          for (std::size_t k = 0; k < operands; ++k) at.push_back(data[k][i]);
          expected.push_back(tree_of(at));
        }
        const std::vector<std::vector<float>> before = data;
        std::vector<const void*> from;
        std::vector<void*> to;
        for (std::size_t k = 0; k < operands; ++k)
          from.push_back(data[k].data());
        for (std::size_t k = 0; k < results; ++k) {
          to.push_back(data[operands - k % (operands + 1)].data());
        }
        reduce_tree(to.data(), results, from.data(), operands, count,
                    Dtype::kF32, ReduceOp::kSum);
        INFO(operands << " into " << results);
        for (std::size_t k = 0; k <= operands; ++k) {
          const bool is_result = operands - k < results;
          CHECK((data[k] == (is_result ? expected : before[k])));
        }
        // In place of one operand alone.
        data = before;
        reduce_tree(data[operands / 2].data(), from.data(), operands, count,
                    Dtype::kF32, ReduceOp::kSum);
        CHECK((data[operands / 2] == expected));
      }
    }
  }
}

TEST_CASE("a tree of halves is rounded once") {
  // Each partial sum in half precision would stay at 2048.
  const std::vector<Half> large{narrow<Half>(2048)}, one{narrow<Half>(1)};
  const void* operands[] = {large.data(), one.data(), one.data(), one.data()};
  Half sum;
  reduce_tree(&sum, operands, 4, 1, Dtype::kF16, ReduceOp::kSum);
  CHECK(widen(sum) == 2052);  // 2051, to even
}

TEST_CASE("scale multiplies, and refuses integers") {
  std::vector<double> values{1, -3, 0.5};
  scale(values.data(), values.size(), Dtype::kF64, 0.25);
  CHECK(values == std::vector<double>{0.25, -0.75, 0.125});
  std::int32_t integer = 4;
  CHECK_THROWS_WITH(scale(&integer, 1, Dtype::kI32, 0.5),
                    ContainsSubstring("scale of i32"));
}
