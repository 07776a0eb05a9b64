#include "kernels/elementwise.h"

#include "kernels/cpu/families.h"
#include "kernels/runtime/check.h"

namespace ringlet::cpu {
namespace {

// Where element (n, c, pixel) of an activation lies in memory.
class Index {
 public:
  Index(const Activation& shape, Layout layout)
      : block_(block_of(layout)),
        channels_(round_up(shape.c, block_)),
        pixels_(shape.pixels()) {
    RINGLET_CHECK(layout != Layout::kChannelsLast,
                  "reorder on the CPU: expected a plain or a blocked layout");
  }

  std::size_t operator()(std::size_t n, std::size_t c, std::size_t p) const {
    const std::size_t tile = (n * channels_ + c / block_ * block_) * pixels_;
    return tile + p * block_ + c % block_;
  }

 private:
  std::size_t block_, channels_, pixels_;
};

// y[i] = value(a[i], b[i])
template <typename Value>
void combine(std::size_t count, Dtype dtype, const void* a, const void* b,
             void* y, Value value) {
  with_element(dtype, [&]<typename T>(T) {
    const T* left = as<T>(a);
    const T* right = as<T>(b);
    T* result = as<T>(y);
#pragma omp parallel for simd
    for (std::size_t i = 0; i < count; ++i) {
      result[i] = narrow<T>(value(widen(left[i]), widen(right[i])));
    }
  });
}

class Elementwise final : public ElementwiseKernels {
 public:
  void relu(std::size_t count, Dtype dtype, const void* x, void* y) override {
    combine(count, dtype, x, x, y,
            [](float v, float) { return v < 0 ? 0.0f : v; });
  }

  void relu_backward(std::size_t count, Dtype dtype, const void* y,
                     const void* dy, void* dx) override {
    combine(count, dtype, y, dy, dx,
            [](float v, float g) { return v <= 0 ? 0.0f : g; });
  }

  void add(std::size_t count, Dtype dtype, const void* a, const void* b,
           void* y) override {
    combine(count, dtype, a, b, y, [](float v, float w) { return v + w; });
  }

  void reorder(const Activation& from, const void* x, Layout layout,
               Dtype dtype, void* y) override {
    with_element(from.dtype, [&]<typename From>(From) {
      with_element(dtype, [&]<typename To>(To) {
        reorder(from, as<From>(x), layout, as<To>(y));
      });
    });
  }

 private:
  template <typename From, typename To>
  static void reorder(const Activation& from, const From* x, Layout layout,
                      To* y) {
    const Index source(from, from.layout), target(from, layout);
    const std::size_t padded = round_up(from.c, block_of(layout));
#pragma omp parallel for
    for (std::size_t n = 0; n < from.n; ++n) {
      for (std::size_t c = 0; c < padded; ++c) {
        for (std::size_t p = 0; p < from.pixels(); ++p) {
          y[target(n, c, p)] =
              c < from.c ? narrow<To>(widen(x[source(n, c, p)])) : To{};
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
