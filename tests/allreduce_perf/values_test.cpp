#include "bench/allreduce_perf/values.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <vector>

#include "kernels/reduce.h"
#include "support/catch.h"

namespace ringlet {
namespace {

constexpr int kRanks = 3;
constexpr std::size_t kCount = 100;

struct Array {
  std::vector<std::byte> bytes;
  Collective call;

  Array(Dtype dtype, ReduceOp op)
      : bytes(kCount * size_of(dtype)), call{CollectiveKind::kAllReduce,
                                             bytes.data(),
                                             bytes.data(),
                                             kCount,
                                             dtype,
                                             op} {}
  Result result() const { return {call, bytes.data(), 0, kRanks}; }
  std::size_t wrong() const { return count_wrong(result()); }
};

// What all ranks put in, combined by the kernels in the order of the ranks.
Array combined(Dtype dtype, ReduceOp op, Values kind) {
  Array sum(dtype, op), next(dtype, op);
  fill(sum.bytes.data(), kCount, dtype, op, kind, 0, kRanks);
  for (int rank = 1; rank < kRanks; ++rank) {
    fill(next.bytes.data(), kCount, dtype, op, kind, rank, kRanks);
    reduce(sum.bytes.data(), next.bytes.data(), kCount, dtype, op);
  }
  if (op == ReduceOp::kAvg) {
    scale(sum.bytes.data(), kCount, dtype, 1.0 / kRanks);
  }
  return sum;
}

TEST_CASE("the exact result has no wrong elements, and each change is one") {
  for (const Dtype dtype : {Dtype::kF32, Dtype::kF64, Dtype::kF16, Dtype::kBF16,
                            Dtype::kI32, Dtype::kI64, Dtype::kU8}) {
    for (const ReduceOp op : {ReduceOp::kSum, ReduceOp::kProd, ReduceOp::kMin,
                              ReduceOp::kMax, ReduceOp::kAvg}) {
      if (op == ReduceOp::kAvg && !is_floating(dtype)) continue;
      CAPTURE(name_of(dtype), name_of(op));
      Array sum = combined(dtype, op, Values::kExact);
      CHECK(sum.wrong() == 0);
      // The bit of the highest value but for the sign's.
      sum.bytes[size_of(dtype) * 8 - 1] ^= std::byte{0x40};
      CHECK(sum.wrong() == 1);
      sum.bytes.back() ^= std::byte{0x40};
      CHECK(sum.wrong() == 2);
    }
  }
}

TEST_CASE("an array that nobody wrote is wrong nearly everywhere") {
  for (const Dtype dtype :
       {Dtype::kF32, Dtype::kBF16, Dtype::kI32, Dtype::kU8}) {
    Array none(dtype, ReduceOp::kSum);
    for (const int byte : {0, 0xFF}) {
      std::memset(none.bytes.data(), byte, none.bytes.size());
      CHECK(none.wrong() > kCount / 2);
    }
  }
}

TEST_CASE("a sum in another's place is wrong") {
  Array sum = combined(Dtype::kI32, ReduceOp::kSum, Values::kExact);
  std::rotate(sum.bytes.begin(), sum.bytes.begin() + 4, sum.bytes.end());
  CHECK(sum.wrong() > kCount / 2);
}

TEST_CASE("the error of a float sum is its distance in units") {
  Array sum = combined(Dtype::kF32, ReduceOp::kSum, Values::kReal);
  const double rounding = worst_ulp(sum.result());
  CHECK(rounding > 0);
  CHECK(rounding <= kRanks - 1);
  // The bits of a float count units in the last place.
  constexpr std::uint32_t kUnits = 100;
  std::uint32_t bits;
  std::memcpy(&bits, sum.bytes.data(), sizeof bits);
  bits += kUnits;
  std::memcpy(sum.bytes.data(), &bits, sizeof bits);
  CHECK(worst_ulp(sum.result()) >= kUnits - 1);
  CHECK(worst_ulp(sum.result()) <= kUnits + 1);
}

TEST_CASE("parts of all_gather and reduce_scatter are those of their rank") {
  std::array<std::int32_t, 2 * kRanks> all;
  for (int rank = 0; rank < kRanks; ++rank) {
    fill(&all[2 * static_cast<std::size_t>(rank)], 2, Dtype::kI32,
         ReduceOp::kSum, Values::kExact, rank, kRanks);
  }
  Collective call{CollectiveKind::kAllGather,
                  nullptr,
                  nullptr,
                  2,
                  Dtype::kI32,
                  ReduceOp::kSum};
  CHECK(count_wrong({call, all.data(), 0, kRanks}) == 0);
  std::swap(all[0], all[2]);
  CHECK(count_wrong({call, all.data(), 0, kRanks}) ==
        (all[0] != all[2] ? 2 : 0));

  std::array<std::int32_t, 6> sum{};
  for (int rank = 0; rank < kRanks; ++rank) {
    std::array<std::int32_t, 6> input;
    fill(input.data(), input.size(), Dtype::kI32, ReduceOp::kSum,
         Values::kExact, rank, kRanks);
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += input[i];
  }
  call.kind = CollectiveKind::kReduceScatter;
  for (int rank = 0; rank < kRanks; ++rank) {
    const auto* part = &sum[2 * static_cast<std::size_t>(rank)];
    CHECK(count_wrong({call, part, rank, kRanks}) == 0);
    CHECK(count_wrong({call, part, (rank + 1) % kRanks, kRanks}) > 0);
  }
}

}  // namespace
}  // namespace ringlet
