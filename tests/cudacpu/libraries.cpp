// What cuBLASLt and cuDNN do on a GPU, by plain loops on the emulator's memory:
// the parts of kernels/cuda that only call a library, once more.

#include <array>
#include <memory>
#include <vector>

#include "kernels/cuda/bias.h"
#include "kernels/cuda/context.h"
#include "kernels/cuda/families.h"
#include "kernels/cuda/matmul.h"
#include "kernels/runtime/element.h"
#include "support/cudacpu/device_memory.h"
#include "support/cudacpu/streams.h"

namespace ringlet::cuda {
namespace {

// Enqueues it, as a library does.
template <typename Action>
void on_device(const Action& action) {
  cudacpu::enqueue(stream(), [=] {
    const cudacpu::DeviceAccess access;
    action();
  });
}

// An array of the device's as floats, and back.
std::vector<float> read(const void* from, std::size_t count, Dtype dtype) {
  std::vector<float> values(count);
  with_type(dtype, [&]<typename T>(T) {
    const auto* elements = static_cast<const T*>(from);
    for (std::size_t i = 0; i < count; ++i) {
      values[i] = static_cast<float>(value_of(elements[i]));
    }
  });
  return values;
}

void write(const std::vector<float>& values, Dtype dtype, void* to) {
  with_type(dtype, [&]<typename T>(T) {
    auto* elements = static_cast<T*>(to);
    for (std::size_t i = 0; i < values.size(); ++i) {
      elements[i] = element_of<T>(static_cast<double>(values[i]));
    }
  });
}

// Calls body(x, weight, y) for each product of a convolution: the indices of
// the first of c neighbouring elements of x and of the weights, which belong to
// element y.
template <typename Body>
void each_tap(const ConvShape& s, const Body& body) {
  const std::size_t pixels = s.out_h() * s.out_w();
  for (std::size_t y = 0; y < s.n * pixels * s.k; ++y) {
    const std::size_t k = y % s.k, pixel = y / s.k % pixels;
    const std::size_t n = y / s.k / pixels;
    for (std::size_t tap = 0; tap < s.kernel_h * s.kernel_w; ++tap) {
      // Below zero wraps around, and is beyond the picture too.
      const std::size_t row =
          pixel / s.out_w() * s.stride + tap / s.kernel_w - s.padding;
      const std::size_t column =
          pixel % s.out_w() * s.stride + tap % s.kernel_w - s.padding;
      if (row >= s.h || column >= s.w) continue;
      body(((n * s.h + row) * s.w + column) * s.c,
           (k * s.kernel_h * s.kernel_w + tap) * s.c, y);
    }
  }
}

std::size_t x_count(const ConvShape& s) { return s.n * s.c * s.h * s.w; }
std::size_t y_pixels(const ConvShape& s) { return s.n * s.out_h() * s.out_w(); }

class Conv final : public ConvKernels {
 public:
  void forward(const ConvArgs& args, const void* x, const void* weight,
               const float* bias, void* y) override {
    on_device([=] {
      const ConvShape& s = args.shape;
      const auto in = read(x, x_count(s), args.dtype);
      const auto w = read(weight, s.weight_count(), args.dtype);
      std::vector<float> out(y_pixels(s) * s.k);
      each_tap(s, [&](std::size_t i, std::size_t j, std::size_t o) {
        for (std::size_t c = 0; c < s.c; ++c) out[o] += in[i + c] * w[j + c];
      });
      write(out, args.dtype, y);
    });
    if (bias == nullptr) return;
    add_bias(y_pixels(args.shape), args.shape.k, args.dtype, bias, y);
  }

  void backward_data(const ConvArgs& args, const void* dy, const void* weight,
                     void* dx) override {
    on_device([=] {
      const ConvShape& s = args.shape;
      const auto g = read(dy, y_pixels(s) * s.k, args.dtype);
      const auto w = read(weight, s.weight_count(), args.dtype);
      std::vector<float> out(x_count(s));
      each_tap(s, [&](std::size_t i, std::size_t j, std::size_t o) {
        for (std::size_t c = 0; c < s.c; ++c) out[i + c] += g[o] * w[j + c];
      });
      write(out, args.dtype, dx);
    });
  }

  void backward_weights(const ConvArgs& args, const void* x, const void* dy,
                        float* dweight, float* dbias) override {
    on_device([=] {
      const ConvShape& s = args.shape;
      const auto in = read(x, x_count(s), args.dtype);
      const auto g = read(dy, y_pixels(s) * s.k, args.dtype);
      std::vector<float> out(s.weight_count());
      each_tap(s, [&](std::size_t i, std::size_t j, std::size_t o) {
        for (std::size_t c = 0; c < s.c; ++c) out[j + c] += g[o] * in[i + c];
      });
      write(out, Dtype::kF32, dweight);
    });
    if (dbias == nullptr) return;
    sum_columns(y_pixels(args.shape), args.shape.k, args.dtype, dy, dbias);
  }
};

void multiply(const Matmul& args) {
  const auto [m, n, k] = std::array{args.m, args.n, args.k};
  const auto a = read(args.a, m * k, args.in_dtype);
  const auto b = read(args.b, k * n, args.in_dtype);
  std::vector<float> c(m * n);
  for (std::size_t i = 0; i < m; ++i) {
    for (std::size_t p = 0; p < k; ++p) {
      const float left = a[args.a_transposed ? p * m + i : i * k + p];
      for (std::size_t j = 0; j < n; ++j) {
        c[i * n + j] += left * b[args.b_transposed ? j * k + p : p * n + j];
      }
    }
  }
  write(c, args.out_dtype, args.c);
}

}  // namespace

std::string conv_library() { return "plain loops"; }

std::unique_ptr<ConvKernels> make_conv() { return std::make_unique<Conv>(); }

void matmul(const Matmul& product) {
  on_device([=] { multiply(product); });
}

}  // namespace ringlet::cuda
