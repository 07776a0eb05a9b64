#include "kernels/linear.h"

#include <algorithm>
#include <oneapi/dnnl/dnnl.hpp>

#include "kernels/cpu/families.h"
#include "kernels/runtime/check.h"

namespace ringlet::cpu {
namespace {

// c[m, n] = a[m, k] b[k, n], row-major; 't' reads an operand transposed.
struct Gemm {
  char a_form, b_form;
  std::size_t m, n, k;
  const float *a, *b;
  float* c;
  float c_factor = 0;  // 1 adds to what c holds
};

void run(const Gemm& g) {
  const auto dim = [](std::size_t v) { return static_cast<dnnl_dim_t>(v); };
  const std::size_t lda = g.a_form == 'n' ? g.k : g.m;
  const std::size_t ldb = g.b_form == 'n' ? g.n : g.k;
  const dnnl::status status =
      dnnl::sgemm(g.a_form, g.b_form, dim(g.m), dim(g.n), dim(g.k), 1.0f, g.a,
                  dim(lda), g.b, dim(ldb), g.c_factor, g.c, dim(g.n));
  RINGLET_CHECK(status == dnnl::status::success,
                "oneDNN sgemm of {} x {} x {} failed with status {}", g.m, g.n,
                g.k, static_cast<int>(status));
}

class Linear final : public LinearKernels {
 public:
  void forward(const LinearShape& s, const float* x, const float* weight,
               const float* bias, float* y) override {
    for (std::size_t n = 0; n < s.n; ++n)
      std::copy_n(bias, s.out, y + n * s.out);
    run({'n', 't', s.n, s.out, s.in, x, weight, y, 1});
  }

  void backward_data(const LinearShape& s, const float* dy, const float* weight,
                     float* dx) override {
    run({'n', 'n', s.n, s.in, s.out, dy, weight, dx});
  }

  void backward_weights(const LinearShape& s, const float* x, const float* dy,
                        float* dweight, float* dbias) override {
    run({'t', 'n', s.out, s.in, s.n, dy, x, dweight});
    std::fill_n(dbias, s.out, 0.0f);
    for (std::size_t n = 0; n < s.n; ++n) {
      for (std::size_t o = 0; o < s.out; ++o) dbias[o] += dy[n * s.out + o];
    }
  }
};

}  // namespace

std::unique_ptr<LinearKernels> make_linear() {
  return std::make_unique<Linear>();
}

}  // namespace ringlet::cpu
