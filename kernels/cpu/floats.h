#pragma once

#include <cstddef>

#include "kernels/cpu/families.h"
#include "kernels/runtime/buffer.h"

// Elements of any type as floats, for ops that are a small part of the work:
// where they lie if they are floats, else a copy.
namespace ringlet::cpu {

class FloatInput {
 public:
  FloatInput(const void* p, Dtype dtype, std::size_t count)
      : data_(static_cast<const float*>(p)) {
    check_type(dtype);
    if (dtype == Dtype::kF32) return;
    copy_ = Buffer::allocate(count * sizeof(float));
    float* copy = reinterpret_cast<float*>(copy_.data());
    const auto* elements = static_cast<const BFloat16*>(p);
#pragma omp parallel for simd
    for (std::size_t i = 0; i < count; ++i) copy[i] = widen(elements[i]);
    data_ = copy;
  }

  const float* data() const { return data_; }

 private:
  const float* data_;
  Buffer copy_;
};

// Written to `p` at the end. A null one stays null.
class FloatOutput {
 public:
  FloatOutput(void* p, Dtype dtype, std::size_t count)
      : data_(static_cast<float*>(p)), count_(count) {
    check_type(dtype);
    if (dtype == Dtype::kF32 || p == nullptr) return;
    target_ = static_cast<BFloat16*>(p);
    copy_ = Buffer::allocate(count * sizeof(float));
    data_ = reinterpret_cast<float*>(copy_.data());
  }
  ~FloatOutput() {
    if (target_ == nullptr) return;
#pragma omp parallel for simd
    for (std::size_t i = 0; i < count_; ++i) {
      target_[i] = narrow<BFloat16>(data_[i]);
    }
  }
  FloatOutput(const FloatOutput&) = delete;
  FloatOutput& operator=(const FloatOutput&) = delete;

  float* data() const { return data_; }

 private:
  float* data_;
  std::size_t count_;
  BFloat16* target_ = nullptr;
  Buffer copy_;
};

}  // namespace ringlet::cpu
