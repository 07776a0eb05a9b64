#include "kernels/conv.h"

#include "cuda/support.h"
#include "kernels/cuda/families.h"

using namespace ringlet;
using namespace ringlet::testing;

namespace {

// By the definition, in double precision and channels last.
struct Expected {
  std::vector<double> y, dx, dw, db;

  Expected(const ConvShape& s, const std::vector<double>& x,
           const std::vector<double>& weight, const std::vector<double>& bias,
           const std::vector<double>& dy)
      : y(dy.size()), dx(x.size()), dw(weight.size()), db(s.k) {
    const auto h = static_cast<long>(s.h), w = static_cast<long>(s.w);
    for (std::size_t o = 0; o < y.size(); ++o) {
      const std::size_t k = o % s.k, column = o / s.k % s.out_w();
      const std::size_t row = o / s.k / s.out_w() % s.out_h();
      const std::size_t n = o / s.k / s.out_w() / s.out_h();
      y[o] = bias[k];
      db[k] += dy[o];
      for (std::size_t tap = 0; tap < s.kernel_h * s.kernel_w; ++tap) {
        const long in_row =
            static_cast<long>(row * s.stride + tap / s.kernel_w) -
            static_cast<long>(s.padding);
        const long in_column =
            static_cast<long>(column * s.stride + tap % s.kernel_w) -
            static_cast<long>(s.padding);
        if (in_row < 0 || in_row >= h || in_column < 0 || in_column >= w) {
          continue;
        }
        const std::size_t pixel =
            (n * s.h + static_cast<std::size_t>(in_row)) * s.w +
            static_cast<std::size_t>(in_column);
        for (std::size_t c = 0; c < s.c; ++c) {
          const std::size_t i = pixel * s.c + c;
          const std::size_t j = (k * s.kernel_h * s.kernel_w + tap) * s.c + c;
          y[o] += x[i] * weight[j];
          dx[i] += dy[o] * weight[j];
          dw[j] += dy[o] * x[i];
        }
      }
    }
  }
};

void check(ConvKernels& conv, const ConvShape& s, Dtype dtype) {
  INFO(name_of(dtype) << " c " << s.c << " h " << s.h << " w " << s.w << " k "
                      << s.k << " kernel " << s.kernel_h << " stride "
                      << s.stride << " padding " << s.padding);
  std::vector<double> x = random_values(s.n * s.c * s.h * s.w, 1);
  std::vector<double> weight = random_values(s.weight_count(), 2);
  std::vector<double> bias = random_values(s.k, 3);
  std::vector<double> dy = random_values(s.n * s.k * s.out_h() * s.out_w(), 4);
  const AnyArray in(x, dtype), w(weight, dtype), b(bias, Dtype::kF32);
  const AnyArray g(dy, dtype);
  const Expected wanted(s, x, weight, bias, dy);
  const ConvArgs args{s, Layout::kChannelsLast, dtype};
  const AnyArray y(dy.size(), dtype), dx(x.size(), dtype);
  const AnyArray dw(weight.size(), Dtype::kF32), db(s.k, Dtype::kF32);
  const auto floats = [](const AnyArray& array) {
    return static_cast<float*>(array.data());
  };
  conv.forward(args, in.data(), w.data(), floats(b), y.data());
  conv.backward_data(args, g.data(), w.data(), dx.data());
  conv.backward_weights(args, in.data(), g.data(), floats(dw), floats(db));
  const double rounded = 4 * rounding(dtype) + 1e-5;
  CHECK(largest_error(y.values(), wanted.y) < rounded);
  CHECK(largest_error(dx.values(), wanted.dx) < rounded);
  CHECK(largest_error(dw.values(), wanted.dw) < rounded);
  CHECK(largest_error(db.values(), wanted.db) < 1e-4);
}

}  // namespace

// Under the emulator this is its stand-in for cuDNN, with our biases.
TEST_CASE("CUDA's convolution agrees with its definition") {
  const auto conv = cuda::make_conv();
  for (const Dtype dtype : kActivationTypes) {
    check(*conv, {2, 3, 8, 8, 16, 3, 3, 1, 1}, dtype);   // the stem
    check(*conv, {2, 16, 8, 8, 8, 1, 1, 1, 0}, dtype);   // within a bottleneck
    check(*conv, {2, 8, 9, 7, 16, 3, 3, 2, 1}, dtype);   // the first of a stage
    check(*conv, {1, 8, 8, 8, 16, 1, 1, 2, 0}, dtype);   // a projection
    check(*conv, {1, 3, 14, 14, 8, 7, 7, 2, 3}, dtype);  // ImageNet's stem
  }
}
