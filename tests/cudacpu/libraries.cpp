// What cuBLASLt and cuDNN do on a GPU, by plain loops on the emulator's memory:
// the parts of kernels/cuda that only call a library, once more.

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "kernels/cuda/bias.h"
#include "kernels/cuda/context.h"
#include "kernels/cuda/conv_plan.h"
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

template <typename Value>
void write(const std::vector<Value>& values, Dtype dtype, void* to) {
  with_type(dtype, [&]<typename T>(T) {
    auto* elements = static_cast<T*>(to);
    for (std::size_t i = 0; i < values.size(); ++i) {
      elements[i] = element_of<T>(static_cast<double>(values[i]));
    }
  });
}

// Calls body(x, tap, y) for each pixel of y and each tap of the filters that
// meets a pixel of x: the indices of their first channels.
template <typename Body>
void each_tap(const ConvShape& s, const Body& body) {
  const std::size_t pixels = s.out_h() * s.out_w();
  const std::size_t taps = s.kernel_h * s.kernel_w;
  for (std::size_t pixel = 0; pixel < s.n * pixels; ++pixel) {
    const std::size_t n = pixel / pixels;
    const std::size_t out_row = pixel % pixels / s.out_w();
    for (std::size_t tap = 0; tap < taps; ++tap) {
      // Below zero wraps around, and is beyond the picture too.
      const std::size_t row = out_row * s.stride + tap / s.kernel_w - s.padding;
      const std::size_t column =
          pixel % s.out_w() * s.stride + tap % s.kernel_w - s.padding;
      if (row >= s.h || column >= s.w) continue;
      body(((n * s.h + row) * s.w + column) * s.c, tap, pixel * s.k);
    }
  }
}

// Sums that are kept in registers.
constexpr std::size_t kTogether = 16;

// out[j] += sum over c of in[c] filters[c][j], for `width` neighbours, kWidth
// at a time.
template <std::size_t kWidth, typename Sum>
void add_products(const float* in, const float* filters, const ConvShape& s,
                  std::size_t width, Sum* out) {
  for (std::size_t j = 0; j < width; j += kWidth) {
    std::array<Sum, kWidth> sums;
    std::copy_n(out + j, kWidth, sums.begin());
    for (std::size_t c = 0; c < s.c; ++c) {
      for (std::size_t l = 0; l < kWidth; ++l) {
        sums[l] += in[c] * filters[c * s.k + j + l];
      }
    }
    std::copy_n(sums.begin(), kWidth, out + j);
  }
}

std::size_t x_count(const ConvShape& s) { return s.n * s.c * s.h * s.w; }
std::size_t y_pixels(const ConvShape& s) { return s.n * s.out_h() * s.out_w(); }

// What an engine adds its products in: so that it shows which one was taken.
// The slow one waits before each run.
struct Engine {
  bool in_double, slow;
};

class LoopPlan final : public ConvPlan {
 public:
  LoopPlan(const ConvKey& key, Engine engine) : key_(key), engine_(engine) {}

  void run(const void* x, const void* weight, const void* y) override {
    const auto [key, engine] = std::pair(key_, engine_);
    on_device([=] {
      if (engine.slow) std::this_thread::sleep_for(kSlow);
      engine.in_double ? sum<double>(key, x, weight, y)
                       : sum<float>(key, x, weight, y);
    });
  }

 private:
  static constexpr std::chrono::milliseconds kSlow{2};

  template <typename Sum>
  static void sum(const ConvKey& key, const void* x, const void* weight,
                  const void* y) {
    const ConvShape& s = key.args.shape;
    const Dtype dtype = key.args.dtype;
    const std::size_t y_count = y_pixels(s) * s.k;
    const std::size_t taps = s.kernel_h * s.kernel_w;
    const auto sums = [](std::size_t count) { return std::vector<Sum>(count); };
    if (key.pass == ConvPass::kForward) {
      const auto in = read(x, x_count(s), dtype);
      const auto w = read(weight, s.weight_count(), dtype);
      // Filters as neighbours, to be added to as many sums at once.
      std::vector<float> by_filter(w.size());
      const std::size_t row = taps * s.c;
      for (std::size_t i = 0; i < w.size(); ++i) {
        by_filter[i % row * s.k + i / row] = w[i];
      }
      auto out = sums(y_count);
      each_tap(s, [&](std::size_t i, std::size_t tap, std::size_t o) {
        const float* filters = &by_filter[tap * s.c * s.k];
        for (std::size_t k = 0; k < s.k; k += kTogether) {
          const std::size_t width = std::min(kTogether, s.k - k);
          width == kTogether
              ? add_products<kTogether>(&in[i], filters + k, s, width,
                                        &out[o + k])
              : add_products<1>(&in[i], filters + k, s, width, &out[o + k]);
        }
      });
      return write(out, dtype, const_cast<void*>(y));
    }
    const auto g = read(y, y_count, dtype);
    if (key.pass == ConvPass::kBackwardData) {
      const auto w = read(weight, s.weight_count(), dtype);
      auto out = sums(x_count(s));
      each_tap(s, [&](std::size_t i, std::size_t tap, std::size_t o) {
        for (std::size_t k = 0; k < s.k; ++k) {
          const float* filter = &w[(k * taps + tap) * s.c];
          for (std::size_t c = 0; c < s.c; ++c) {
            out[i + c] += g[o + k] * filter[c];
          }
        }
      });
      return write(out, dtype, const_cast<void*>(x));
    }
    const auto in = read(x, x_count(s), dtype);
    auto out = sums(s.weight_count());
    each_tap(s, [&](std::size_t i, std::size_t tap, std::size_t o) {
      for (std::size_t k = 0; k < s.k; ++k) {
        Sum* filter = &out[(k * taps + tap) * s.c];
        for (std::size_t c = 0; c < s.c; ++c) {
          filter[c] += g[o + k] * in[i + c];
        }
      }
    });
    write(out, key.weight_dtype, const_cast<void*>(weight));
  }

  ConvKey key_;
  Engine engine_;
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

std::vector<ConvPlanPtr> offer_plans(const ConvKey& key, std::size_t most) {
  std::vector<ConvPlanPtr> plans;
  for (const Engine engine :
       {Engine{false, false}, Engine{true, false}, Engine{false, true}}) {
    plans.push_back(std::make_unique<LoopPlan>(key, engine));
  }
  plans.resize(std::min(plans.size(), most));
  return plans;
}

ConvPlanPtr make_legacy_plan(const ConvKey& key) {
  return std::make_unique<LoopPlan>(key, Engine{true, false});
}

void matmul(const Matmul& product) {
  on_device([=] { multiply(product); });
}

}  // namespace ringlet::cuda
