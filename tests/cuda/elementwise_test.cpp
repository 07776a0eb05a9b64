#include "cuda/support.h"
#include "kernels/cuda/families.h"

using namespace ringlet;
using namespace ringlet::testing;

namespace {

// Around the sizes at which packs, blocks and rounds of the grid end.
const std::vector<std::size_t> kCounts = {0,   1,    7,    8,    9,     255,
                                          256, 2047, 2048, 2049, 32775, 65543};

using Function = std::function<double(double, double)>;

// What `run` makes of two arrays is `wanted` of their elements, to the bit.
void check_combination(
    const Function& wanted,
    const std::function<void(ElementwiseKernels&, std::size_t, Dtype,
                             const void*, const void*, void*)>& run) {
  const auto kernels = cuda::make_elementwise();
  for (const Dtype dtype : kActivationTypes) {
    for (const std::size_t count : kCounts) {
      INFO(name_of(dtype) << " x " << count);
      std::vector<double> a = random_values(count, 1);
      std::vector<double> b = random_values(count, 2);
      for (std::size_t i = 0; i < count; i += 3) a[i] = 0;  // as a ReLU leaves
      const AnyArray left(a, dtype), right(b, dtype);
      std::vector<double> expected(count);
      for (std::size_t i = 0; i < count; ++i) expected[i] = wanted(a[i], b[i]);
      const AnyArray rounded(expected, dtype);
      in_all_orders([&] {
        const AnyArray y(count, dtype);
        run(*kernels, count, dtype, left.data(), right.data(), y.data());
        CHECK((y.values() == expected));
        return Bits{y.raw()};
      });
    }
  }
}

}  // namespace

TEST_CASE("CUDA's relu, its backward and add are exact") {
  check_combination([](double a, double) { return a > 0 ? a : 0; },
                    [](ElementwiseKernels& kernels, std::size_t count,
                       Dtype dtype, const void* a, const void*,
                       void* y) { kernels.relu(count, dtype, a, y); });
  check_combination([](double y, double dy) { return y > 0 ? dy : 0; },
                    [](ElementwiseKernels& kernels, std::size_t count,
                       Dtype dtype, const void* y, const void* dy, void* dx) {
                      kernels.relu_backward(count, dtype, y, dy, dx);
                    });
  check_combination([](double a, double b) { return a + b; },
                    [](ElementwiseKernels& kernels, std::size_t count,
                       Dtype dtype, const void* a, const void* b,
                       void* y) { kernels.add(count, dtype, a, b, y); });
}

TEST_CASE("CUDA's add may write over an operand") {
  std::vector<double> a = random_values(2049, 1), b = random_values(2049, 2);
  const AnyArray left(a, Dtype::kF32), right(b, Dtype::kF32);
  cuda::make_elementwise()->add(a.size(), Dtype::kF32, left.data(),
                                right.data(), left.data());
  for (std::size_t i = 0; i < a.size(); ++i) {
    a[i] = static_cast<double>(static_cast<float>(a[i] + b[i]));
  }
  CHECK((left.values() == a));
}

TEST_CASE("CUDA's relu hands a NaN on") {
  std::vector<double> x = {-1, NAN, 2};
  const AnyArray in(x, Dtype::kBF16), y(x.size(), Dtype::kBF16);
  cuda::make_elementwise()->relu(x.size(), Dtype::kBF16, in.data(), y.data());
  const std::vector<double> got = y.values();
  CHECK(got[0] == 0);
  CHECK(std::isnan(got[1]));
  CHECK(got[2] == 2);
}

TEST_CASE("CUDA reorders between plain and channels last, and back") {
  const auto kernels = cuda::make_elementwise();
  const std::vector<Activation> shapes = {{1, 1, 1, 1, Layout::kPlain},
                                          {2, 3, 32, 32, Layout::kPlain},
                                          {3, 33, 5, 7, Layout::kPlain},
                                          {2, 64, 1, 31, Layout::kPlain},
                                          {0, 3, 8, 8, Layout::kPlain}};
  for (const Activation& shape : shapes) {
    for (const Dtype dtype : kActivationTypes) {
      INFO(name_of(dtype) << " " << shape.n << " " << shape.c << " "
                          << shape.pixels());
      const std::size_t count = shape.storage_count();
      std::vector<double> x = random_values(count, 3);
      AnyArray rounded(x, dtype);  // x is now what both types can hold
      const AnyArray plain(x, Dtype::kF32);
      std::vector<double> last(count);
      for (std::size_t i = 0; i < count; ++i) {
        const std::size_t pixel = i % shape.pixels();
        const std::size_t c = i / shape.pixels() % shape.c;
        const std::size_t n = i / shape.pixels() / shape.c;
        last[(n * shape.pixels() + pixel) * shape.c + c] = x[i];
      }
      in_all_orders([&] {
        const AnyArray there(count, dtype), back(count, Dtype::kF32);
        const AnyArray same(count, Dtype::kF32);
        kernels->reorder(shape, plain.data(), Layout::kChannelsLast, dtype,
                         there.data());
        Activation turned = shape;
        turned.layout = Layout::kChannelsLast;
        turned.dtype = dtype;
        kernels->reorder(turned, there.data(), Layout::kPlain, Dtype::kF32,
                         back.data());
        kernels->reorder(turned, there.data(), Layout::kChannelsLast,
                         Dtype::kF32, same.data());
        CHECK((there.values() == last));
        CHECK((back.values() == x));
        CHECK((same.values() == last));
        return Bits{there.raw(), back.raw()};
      });
    }
  }
}

TEST_CASE("CUDA refuses activations of other types") {
  const auto kernels = cuda::make_elementwise();
  CHECK_THROWS_WITH(kernels->relu(1, Dtype::kI32, nullptr, nullptr),
                    ContainsSubstring("i32") &&
                        ContainsSubstring("expected f32, f16 or bf16"));
}
