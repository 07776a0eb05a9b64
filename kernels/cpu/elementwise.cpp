#include "kernels/elementwise.h"

#include <algorithm>

#include "kernels/cpu/families.h"

namespace ringlet::cpu {
namespace {

// Where element (n, c, pixel) of an activation lies in memory.
class Index {
 public:
  Index(const ActivationShape& shape, Layout layout)
      : block_(block_of(layout)),
        channels_(round_up(shape.c, block_)),
        pixels_(shape.pixels()) {}

  std::size_t operator()(std::size_t n, std::size_t c, std::size_t p) const {
    const std::size_t tile = (n * channels_ + c / block_ * block_) * pixels_;
    return tile + p * block_ + c % block_;
  }

 private:
  std::size_t block_, channels_, pixels_;
};

class Elementwise final : public ElementwiseKernels {
 public:
  void relu(std::size_t count, const float* x, float* y) override {
#pragma omp parallel for simd
    for (std::size_t i = 0; i < count; ++i) y[i] = x[i] < 0 ? 0.0f : x[i];
  }

  void relu_backward(std::size_t count, const float* y, const float* dy,
                     float* dx) override {
#pragma omp parallel for simd
    for (std::size_t i = 0; i < count; ++i) dx[i] = y[i] <= 0 ? 0.0f : dy[i];
  }

  void add(std::size_t count, const float* a, const float* b,
           float* y) override {
#pragma omp parallel for simd
    for (std::size_t i = 0; i < count; ++i) y[i] = a[i] + b[i];
  }

  void reorder(const ActivationShape& shape, Layout from, const float* x,
               Layout to, float* y) override {
    const Index source(shape, from), target(shape, to);
    const std::size_t padded = round_up(shape.c, block_of(to));
#pragma omp parallel for
    for (std::size_t n = 0; n < shape.n; ++n) {
      for (std::size_t c = 0; c < padded; ++c) {
        for (std::size_t p = 0; p < shape.pixels(); ++p) {
          y[target(n, c, p)] = c < shape.c ? x[source(n, c, p)] : 0.0f;
        }
      }
    }
  }
};

}  // namespace

std::unique_ptr<ElementwiseKernels> make_elementwise() {
  return std::make_unique<Elementwise>();
}

}  // namespace ringlet::cpu
