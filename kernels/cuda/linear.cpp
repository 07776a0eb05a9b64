#include "kernels/linear.h"

#include "kernels/cuda/bias.h"
#include "kernels/cuda/families.h"
#include "kernels/cuda/matmul.h"

namespace ringlet::cuda {
namespace {

class Linear final : public LinearKernels {
 public:
  void forward(const LinearArgs& s, const void* x, const void* weight,
               const float* bias, void* y) override {
    if (s.n == 0) return;
    matmul({.m = s.n,
            .n = s.out,
            .k = s.in,
            .in_dtype = s.dtype,
            .out_dtype = s.dtype,
            .a = x,
            .a_transposed = false,
            .b = weight,
            .b_transposed = true,
            .c = y});
    add_bias(s.n, s.out, s.dtype, bias, y);
  }

  void backward_data(const LinearArgs& s, const void* dy, const void* weight,
                     void* dx) override {
    if (s.n == 0) return;
    matmul({.m = s.n,
            .n = s.in,
            .k = s.out,
            .in_dtype = s.dtype,
            .out_dtype = s.dtype,
            .a = dy,
            .a_transposed = false,
            .b = weight,
            .b_transposed = false,
            .c = dx});
  }

  void backward_weights(const LinearArgs& s, const void* x, const void* dy,
                        float* dweight, float* dbias) override {
    matmul({.m = s.out,
            .n = s.in,
            .k = s.n,
            .in_dtype = s.dtype,
            .out_dtype = Dtype::kF32,
            .a = dy,
            .a_transposed = true,
            .b = x,
            .b_transposed = false,
            .c = dweight});
    sum_columns(s.n, s.out, s.dtype, dy, dbias);
  }
};

}  // namespace

std::unique_ptr<LinearKernels> make_linear() {
  return std::make_unique<Linear>();
}

}  // namespace ringlet::cuda
