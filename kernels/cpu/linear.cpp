#include "kernels/linear.h"

#include <algorithm>

#include "kernels/cpu/floats.h"
#include "kernels/cpu/vec.h"

namespace ringlet::cpu {
namespace {

// A classifier is a small part of a network, and a general matrix product asks
// the system for its packing buffers at each call. So: rows four at a time,
// which then share what is read of the other operand.
constexpr std::size_t kRows = 4;
constexpr std::size_t kLanes = 16;

// The first of up to four rows of a matrix, and how many there are.
struct Rows {
  std::size_t first, count;
};

// Runs body(rows) for all of `count` rows, shared among the threads.
template <typename Body>
void each_rows(std::size_t count, Body body) {
#pragma omp parallel for
  for (std::size_t first = 0; first < count; first += kRows) {
    body(Rows{first, std::min(kRows, count - first)});
  }
}

// The product of a row and a vector of `count` floats each.
float dot(const float* row, const float* vector, std::size_t count) {
  Vec<kLanes> sums{};
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    sums += load<kLanes>(row + i) * load<kLanes>(vector + i);
  }
  sums += load_part<kLanes>(row + i, count - i) *
          load_part<kLanes>(vector + i, count - i);
  float sum = 0;
  for (std::size_t lane = 0; lane < kLanes; ++lane) sum += sums[lane];
  return sum;
}

// row += factor * vector
void add_scaled(float factor, const float* __restrict vector, std::size_t count,
                float* __restrict row) {
  for (std::size_t i = 0; i < count; ++i) row[i] += factor * vector[i];
}

// c[m, n] = sum over k of a's value for (m, k) times b[k, n]. While four rows
// of c are in the nearest cache, b is read once for them.
template <typename A>
void multiply(std::size_t m, std::size_t n, std::size_t k, A a, const float* b,
              float* c) {
  each_rows(m, [&](Rows rows) {
    std::fill_n(c + rows.first * n, rows.count * n, 0.0f);
    for (std::size_t i = 0; i < k; ++i) {
      for (std::size_t r = rows.first; r < rows.first + rows.count; ++r) {
        add_scaled(a(r, i), b + i * n, n, c + r * n);
      }
    }
  });
}

class Linear final : public LinearKernels {
 public:
  void forward(const LinearArgs& s, const void* x, const void* weight,
               const float* bias, void* y) override {
    const FloatInput in(x, s.dtype, s.n * s.in);
    const FloatInput w(weight, s.dtype, s.out * s.in);
    const FloatOutput out(y, s.dtype, s.n * s.out);
    each_rows(s.n, [&](Rows rows) {
      for (std::size_t o = 0; o < s.out; ++o) {
        for (std::size_t r = rows.first; r < rows.first + rows.count; ++r) {
          out.data()[r * s.out + o] =
              bias[o] + dot(in.data() + r * s.in, w.data() + o * s.in, s.in);
        }
      }
    });
  }

  void backward_data(const LinearArgs& s, const void* dy, const void* weight,
                     void* dx) override {
    const FloatInput dout(dy, s.dtype, s.n * s.out);
    const FloatInput w(weight, s.dtype, s.out * s.in);
    const FloatOutput din(dx, s.dtype, s.n * s.in);
    const auto value = [&](std::size_t n, std::size_t o) {
      return dout.data()[n * s.out + o];
    };
    multiply(s.n, s.in, s.out, value, w.data(), din.data());
  }

  void backward_weights(const LinearArgs& s, const void* x, const void* dy_,
                        float* dweight, float* dbias) override {
    const FloatInput in(x, s.dtype, s.n * s.in);
    const FloatInput dout(dy_, s.dtype, s.n * s.out);
    const float* dy = dout.data();
    const auto value = [&](std::size_t o, std::size_t n) {
      return dy[n * s.out + o];
    };
    multiply(s.out, s.in, s.n, value, in.data(), dweight);
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
