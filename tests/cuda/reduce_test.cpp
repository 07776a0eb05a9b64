#include "kernels/reduce.h"

#include "cuda/support.h"

using namespace ringlet;
using namespace ringlet::testing;

namespace {

const std::vector<Dtype> kAllTypes = {Dtype::kF32, Dtype::kF64, Dtype::kI32,
                                      Dtype::kI64, Dtype::kU8,  Dtype::kF16,
                                      Dtype::kBF16};
const std::vector<ReduceOp> kAllOps = {ReduceOp::kSum, ReduceOp::kProd,
                                       ReduceOp::kMin, ReduceOp::kMax,
                                       ReduceOp::kAvg};

// Elements as they lie in memory; small, so that integers do not overflow.
std::vector<std::byte> elements(std::size_t count, Dtype dtype,
                                std::uint32_t seed) {
  const std::vector<double> values = random_values(count, seed, 0, 15);
  std::vector<std::byte> raw(count * size_of(dtype));
  with_type(dtype, [&]<typename T>(T) {
    for (std::size_t i = 0; i < count; ++i) {
      const T element = element_of<T>(values[i]);
      std::memcpy(raw.data() + i * sizeof(T), &element, sizeof(T));
    }
  });
  return raw;
}

}  // namespace

TEST_CASE("CUDA reduces to the bits of the CPU, wherever the arrays begin") {
  // Where the two begin, in elements from an aligned address.
  const std::vector<std::pair<std::size_t, std::size_t>> starts = {
      {0, 0}, {1, 1}, {3, 3}, {1, 0}, {2, 5}};
  for (const Dtype dtype : kAllTypes) {
    for (const ReduceOp op : kAllOps) {
      for (const std::size_t count : {0, 1, 15, 16, 17, 1000, 20011}) {
        for (const auto& [to, from] : starts) {
          INFO(name_of(dtype) << " " << name_of(op) << " x " << count << " at "
                              << to << " and " << from);
          const std::vector<std::byte> a = elements(to + count, dtype, 1);
          const std::vector<std::byte> b = elements(from + count, dtype, 2);
          const std::size_t to_byte = to * size_of(dtype);
          const std::size_t from_byte = from * size_of(dtype);
          std::vector<std::byte> expected = a;
          reduce(expected.data() + to_byte, b.data() + from_byte, count, dtype,
                 op);
          const DeviceArray<std::byte> left(a), right(b);
          cuda::reduce(left.data() + to_byte, right.data() + from_byte, count,
                       dtype, op);
          CHECK((left.to_host() == expected));
        }
      }
    }
  }
}

TEST_CASE("CUDA scales to the bits of the CPU") {
  for (const Dtype dtype :
       {Dtype::kF32, Dtype::kF64, Dtype::kF16, Dtype::kBF16}) {
    std::vector<std::byte> expected = elements(1000, dtype, 1);
    const DeviceArray<std::byte> data(expected);
    scale(expected.data(), 1000, dtype, 1.0 / 3);
    cuda::scale(data.data(), 1000, dtype, 1.0 / 3);
    CHECK((data.to_host() == expected));
  }
  CHECK_THROWS_WITH(cuda::scale(nullptr, 1, Dtype::kI32, 0.5),
                    ContainsSubstring("scale of i32"));
}

TEST_CASE("CUDA rounds to 16 bits and back as the CPU does") {
  // Ties, what overflows, what is subnormal or less, in both types.
  std::vector<float> values = {0,        -0.0f,    1 + 0x1p-8f, 1 + 0x3p-8f,
                               65519,    65520,    -3.4e38f,    0x1p-24f,
                               0x1p-25f, 0x3p-26f, 0x1p-133f,   0x1p-140f,
                               INFINITY};
  for (const double value : random_values(1000, 1, -3, 3)) {
    values.push_back(static_cast<float>(value));
  }
  const std::size_t count = values.size();
  const DeviceArray<float> there(values);
  for (const Dtype dtype : {Dtype::kF16, Dtype::kBF16}) {
    for (const float factor : {1.0f, 1.0f / 3}) {
      INFO(name_of(dtype) << " times " << factor);
      std::vector<std::uint16_t> expected(count);
      narrow(expected.data(), dtype, values.data(), count, factor);
      const DeviceArray<std::uint16_t> halves(count);
      cuda::narrow(halves.data(), dtype, there.data(), count, factor);
      CHECK((halves.to_host() == expected));
      std::vector<float> wide(count);
      widen(wide.data(), expected.data(), dtype, count);
      const DeviceArray<float> back(count);
      cuda::widen(back.data(), halves.data(), dtype, count);
      CHECK((back.to_host() == wide));
    }
    const DeviceArray<float> nan(std::vector<float>{NAN}), out(1);
    const DeviceArray<std::uint16_t> half(1);
    cuda::narrow(half.data(), dtype, nan.data(), 1, 1);
    cuda::widen(out.data(), half.data(), dtype, 1);
    CHECK(std::isnan(out.to_host()[0]));
  }
  CHECK_THROWS_WITH(cuda::narrow(nullptr, Dtype::kF64, nullptr, 1, 1),
                    ContainsSubstring("f64: expected f16 or bf16"));
}

TEST_CASE("CUDA adds along the CPU's tree") {
  constexpr std::size_t kCount = 1000;
  for (const Dtype dtype : kAllTypes) {
    for (const ReduceOp op : kAllOps) {
      for (const std::size_t operands : {1, 2, 3, 4, 5, 6, 7, 8, 13, 64}) {
        // More of them would not fit into 32 bits.
        const bool integers = !is_floating(dtype);
        if (integers && op == ReduceOp::kProd && operands > 5) continue;
        INFO(name_of(dtype) << " " << name_of(op) << " of " << operands);
        // 0 to 1 in floats, so that another order shows.
        std::vector<std::vector<std::byte>> arrays;
        std::vector<DeviceArray<std::byte>> there;
        std::vector<const void*> from, from_there;
        for (std::uint32_t r = 0; r < operands; ++r) {
          std::vector<double> values = random_values(kCount, r, 0, 1);
          arrays.push_back(integers ? elements(kCount, dtype, r)
                                    : AnyArray(values, dtype).raw());
          there.emplace_back(arrays.back());
        }
        for (std::size_t r = 0; r < operands; ++r) {
          from.push_back(arrays[r].data());
          from_there.push_back(there[r].data());
        }
        std::vector<std::byte> expected(kCount * size_of(dtype));
        reduce_tree(expected.data(), from.data(), operands, kCount, dtype, op);
        // Onto the last operand.
        cuda::reduce_tree(there.back().data(), from_there.data(), operands,
                          kCount, dtype, op);
        CHECK((there.back().to_host() == expected));
      }
    }
  }
  CHECK_THROWS_WITH(
      cuda::reduce_tree(nullptr, nullptr, 65, 1, Dtype::kF32, ReduceOp::kSum),
      ContainsSubstring("65 arrays on CUDA: expected at most 64"));
}
