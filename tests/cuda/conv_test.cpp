#include "kernels/conv.h"

#include <algorithm>

#include "cuda/support.h"
#include "kernels/cuda/conv_choices.h"
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

// Under the emulator these are its stand-ins for cuDNN, with our biases.
TEST_CASE("CUDA's convolution agrees with its definition") {
  const bool legacy = GENERATE(false, true);
  const bool tune = GENERATE(false, true);
  INFO((legacy ? "legacy" : "graph") << (tune ? ", tuned" : ""));
  cuda::set_legacy_convolutions(legacy);
  cuda::set_conv_tuning(tune);
  const auto conv = cuda::make_conv();
  for (const Dtype dtype : kActivationTypes) {
    check(*conv, {2, 3, 8, 8, 16, 3, 3, 1, 1}, dtype);   // the stem
    check(*conv, {2, 16, 8, 8, 8, 1, 1, 1, 0}, dtype);   // within a bottleneck
    check(*conv, {2, 8, 9, 7, 16, 3, 3, 2, 1}, dtype);   // the first of a stage
    check(*conv, {1, 8, 8, 8, 16, 1, 1, 2, 0}, dtype);   // a projection
    check(*conv, {1, 3, 14, 14, 8, 7, 7, 2, 3}, dtype);  // ImageNet's stem
  }
  cuda::set_legacy_convolutions(false);
  cuda::set_conv_tuning(false);
}

TEST_CASE("what convolutions are computed by is chosen once") {
  using cuda::ConvPass;
  const ConvShape shape{2, 16, 8, 8, 24, 1, 1, 1, 0};
  const ConvArgs args{shape, Layout::kChannelsLast};
  const cuda::ConvKey key{args, ConvPass::kForward, Dtype::kF32, false};
  CHECK(text_of(key) ==
        "forward of [2, 16, 8, 8] f32 with 24 filters 1x1, stride 1, padding "
        "0");
  CHECK(cuda::text_of({args, ConvPass::kBackwardWeights, Dtype::kBF16, true}) ==
        "backward_weights of [2, 16, 8, 8] tf32 with 24 filters 1x1, stride 1, "
        "padding 0, to bf16");
  std::vector<double> x = random_values(2 * 16 * 64, 1);
  std::vector<double> weight = random_values(16 * 24, 2);
  const AnyArray in(x, Dtype::kF32), w(weight, Dtype::kF32);
  const auto forward = [&] {
    const AnyArray y(2 * 24 * 64, Dtype::kF32);
    cuda::make_conv()->forward(args, in.data(), w.data(), nullptr, y.data());
    return y.raw();
  };
  // What nobody has asked to be timed is the library's first.
  const auto versions = "a GPU";
  cuda::set_conv_choices("a GPU\n", versions);
  const auto first = forward();
  CHECK(cuda::conv_choices(versions).empty());
  cuda::set_conv_tuning(true);
  forward();
  const std::string timed = cuda::conv_choices(versions);
  cuda::set_conv_tuning(false);
  CHECK_THAT(timed, StartsWith("a GPU\n" + text_of(key) + ": "));
  CHECK(std::count(timed.begin(), timed.end(), '\n') == 2);
  // What has been timed stays, for others too.
  const auto taken = forward();
  CHECK(cuda::conv_choices(versions) == timed);
  cuda::set_conv_choices("a GPU\n", versions);
  cuda::set_conv_choices(timed, versions);
  CHECK((forward() == taken));
#ifdef RINGLET_CUDACPU
  // The slowest of the stand-ins is "engine 2"; "engine 1" adds in doubles.
  CHECK_THAT(timed, !ContainsSubstring("engine 2"));
  const std::string second = "a GPU\n" + text_of(key) + ": engine 1\n";
  cuda::set_conv_choices(second, versions);
  CHECK((forward() != first));
#endif
  // Of another GPU, or of another cuDNN's.
  cuda::set_conv_choices("a GPU\n", versions);
  cuda::set_conv_choices("another\n" + text_of(key) + ": engine 1\n", versions);
  CHECK((forward() == first));
  cuda::set_conv_choices("a GPU\n" + text_of(key) + ": engine 77\n", versions);
  CHECK((forward() == first));
  CHECK_THROWS_WITH(cuda::set_conv_choices("a GPU\nforward, fast\n", versions),
                    ContainsSubstring("'forward, fast', expected"));
  cuda::set_conv_choices("a GPU\n", versions);
}
