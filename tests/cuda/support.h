#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "cuda/device_array.h"
#include "kernels/runtime/dtype.h"
#include "kernels/runtime/element.h"
#include "kernels/runtime/philox.h"
#include "support/catch.h"

#ifdef RINGLET_CUDACPU
#include "support/cudacpu/block.h"
#endif

// What the tests of CUDA kernels share. They run on the emulator, where each
// case is repeated in three orders of threads and must give the same bits, and
// from the same sources on a GPU.
namespace ringlet::testing {

inline std::vector<double> random_values(std::size_t count, std::uint32_t seed,
                                         double low = -1, double high = 1) {
  PhiloxStream random(seed, RandomPurpose::kSyntheticData, 0, 0);
  std::vector<double> values(count);
  for (double& value : values) {
    value = low + (high - low) * static_cast<double>(random.uniform());
  }
  return values;
}

// An array of elements of any type, whose host side is double.
class AnyArray {
 public:
  // NaNs.
  AnyArray(std::size_t count, Dtype dtype)
      : dtype_(dtype), bytes_(count * size_of(dtype)) {}
  // Rounded to the type; `values` are overwritten with what they became, so
  // that both sides start equal.
  AnyArray(std::vector<double>& values, Dtype dtype)
      : dtype_(dtype), bytes_(encode(values, dtype)) {}

  void* data() const { return bytes_.data(); }
  std::vector<std::byte> raw() const { return bytes_.to_host(); }
  std::vector<double> values() const {
    const std::vector<std::byte> raw = bytes_.to_host();
    std::vector<double> values(raw.size() / size_of(dtype_));
    with_type(dtype_, [&]<typename T>(T) {
      for (std::size_t i = 0; i < values.size(); ++i) {
        T element;
        std::memcpy(&element, raw.data() + i * sizeof(T), sizeof(T));
        values[i] = value_of(element);
      }
    });
    return values;
  }

 private:
  static std::vector<std::byte> encode(std::vector<double>& values,
                                       Dtype dtype) {
    std::vector<std::byte> raw(values.size() * size_of(dtype));
    with_type(dtype, [&]<typename T>(T) {
      for (std::size_t i = 0; i < values.size(); ++i) {
        const T element = element_of<T>(values[i]);
        std::memcpy(raw.data() + i * sizeof(T), &element, sizeof(T));
        values[i] = value_of(element);
      }
    });
    return raw;
  }

  Dtype dtype_;
  DeviceArray<std::byte> bytes_;
};

// The largest |got - wanted| / (1 + |wanted|); NaN where `got` has one, which
// then is below no bound.
inline double largest_error(const std::vector<double>& got,
                            const std::vector<double>& wanted) {
  if (got.size() != wanted.size()) return NAN;
  double largest = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double error =
        std::abs(got[i] - wanted[i]) / (1 + std::abs(wanted[i]));
    if (std::isnan(error)) return NAN;
    largest = std::max(largest, error);
  }
  return largest;
}

// Half of the distance between 1 and the next number of that type.
inline double rounding(Dtype dtype) {
  switch (dtype) {
    case Dtype::kF16:
      return 0x1p-11;
    case Dtype::kBF16:
      return 0x1p-8;
    default:
      return 0x1p-24;
  }
}

inline const std::vector<Dtype> kActivationTypes = {Dtype::kF32, Dtype::kF16,
                                                    Dtype::kBF16};

// Of some arrays.
using Bits = std::vector<std::vector<std::byte>>;

// Runs `run`, which returns all bits of its results, three times; on the
// emulator each time in another order.
inline void in_all_orders(const std::function<Bits()>& run) {
#ifdef RINGLET_CUDACPU
  const std::string before = cudacpu::order();
  const auto set_order = [](const std::string& order) {
    cudacpu::set_order(order);
  };
#else
  const std::string before;
  const auto set_order = [](const std::string&) {};
#endif
  set_order("fwd");
  const Bits first = run();
  for (const std::string order : {"rev", "rnd:7"}) {
    set_order(order);
    INFO("order " << order);
    CHECK((run() == first));
  }
  set_order(before);
}

}  // namespace ringlet::testing
