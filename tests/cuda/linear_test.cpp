#include "kernels/linear.h"

#include "cuda/support.h"
#include "kernels/cuda/families.h"

using namespace ringlet;
using namespace ringlet::testing;

namespace {

void check(const LinearArgs& s) {
  INFO(name_of(s.dtype) << " n " << s.n << " in " << s.in << " out " << s.out);
  std::vector<double> x = random_values(s.n * s.in, 1);
  std::vector<double> weight = random_values(s.out * s.in, 2);
  std::vector<double> bias = random_values(s.out, 3);
  std::vector<double> dy = random_values(s.n * s.out, 4);
  const AnyArray in(x, s.dtype), w(weight, s.dtype), b(bias, Dtype::kF32);
  const AnyArray g(dy, s.dtype);
  std::vector<double> y(s.n * s.out), dx(s.n * s.in), dw(s.out * s.in);
  std::vector<double> db(s.out);
  for (std::size_t i = 0; i < s.n; ++i) {
    for (std::size_t o = 0; o < s.out; ++o) {
      y[i * s.out + o] += bias[o];
      db[o] += dy[i * s.out + o];
      for (std::size_t k = 0; k < s.in; ++k) {
        y[i * s.out + o] += x[i * s.in + k] * weight[o * s.in + k];
        dx[i * s.in + k] += dy[i * s.out + o] * weight[o * s.in + k];
        dw[o * s.in + k] += dy[i * s.out + o] * x[i * s.in + k];
      }
    }
  }
  const AnyArray got_y(y.size(), s.dtype), got_dx(dx.size(), s.dtype);
  const AnyArray got_dw(dw.size(), Dtype::kF32), got_db(s.out, Dtype::kF32);
  const auto linear = cuda::make_linear();
  const auto floats = [](const AnyArray& array) {
    return static_cast<float*>(array.data());
  };
  linear->forward(s, in.data(), w.data(), floats(b), got_y.data());
  linear->backward_data(s, g.data(), w.data(), got_dx.data());
  linear->backward_weights(s, in.data(), g.data(), floats(got_dw),
                           floats(got_db));
  const double rounded = 4 * rounding(s.dtype) + 2e-6;
  CHECK(largest_error(got_y.values(), y) < rounded);
  CHECK(largest_error(got_dx.values(), dx) < rounded);
  CHECK(largest_error(got_dw.values(), dw) < 1e-5);
  CHECK(largest_error(got_db.values(), db) < 1e-5);
}

}  // namespace

TEST_CASE("CUDA's linear layer agrees with its formulas") {
  for (const Dtype dtype : kActivationTypes) {
    for (const std::size_t n : {1, 7, 40}) {
      check({n, 64, 10, dtype});
      check({n, 32, 100, dtype});
      check({n, 8, 33, dtype});
    }
  }
}
