#include "bench/allreduce_perf/values.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "bench/measure/ulp.h"
#include "kernels/runtime/element.h"

namespace ringlet {
namespace {

constexpr std::size_t kUlpElements = 65536;

// How a type holds real numbers: as ulp_error wants it.
template <typename T>
struct FloatFormat {
  static constexpr int kMantissa = 24, kMinExponent = -126;
};
template <>
struct FloatFormat<double> {
  static constexpr int kMantissa = 53, kMinExponent = -1022;
};
template <>
struct FloatFormat<Half> {
  static constexpr int kMantissa = 11, kMinExponent = -14;
};
template <>
struct FloatFormat<BFloat16> {
  static constexpr int kMantissa = 8, kMinExponent = -126;
};

// Without a period, so that an element in another's place shows.
std::uint64_t mixed(int rank, std::size_t i) {
  std::uint64_t x = (i + 1) * 0x9E3779B97F4A7C15u +
                    static_cast<std::uint64_t>(rank) * 0xD1B54A32D192ED03u;
  x ^= x >> 29;
  return (x * 0xBF58476D1CE4E5B9u) >> 32;
}

// The sums of all ranks stay below 256, up to which bfloat16 has all whole
// numbers; products are 8 at most. A rank's share of a mean of floats, which 16
// bits on the wire hold, is such a number too.
template <typename T>
double exact_value(ReduceOp op, int rank, int ranks, std::size_t i) {
  const std::uint64_t draw = mixed(rank, i);
  if (op == ReduceOp::kProd) return rank < 3 ? 1 + draw % 2 : 1;
  const int kinds = std::clamp(256 / ranks, 2, 23);
  const int digit = static_cast<int>(draw % static_cast<unsigned>(kinds));
  if (std::is_same_v<T, float> && op == ReduceOp::kAvg) {
    return ranks * (digit - kinds / 2);
  }
  return std::is_unsigned_v<T> ? digit : digit - kinds / 2;
}

template <typename T>
double value(Values kind, ReduceOp op, int rank, int ranks, std::size_t i) {
  if (kind == Values::kExact) return exact_value<T>(op, rank, ranks, i);
  const double real = static_cast<double>(mixed(rank, i)) * 0x1p-32;
  return value_of(element_of<T>(real));
}

double combine(double a, double b, ReduceOp op) {
  switch (op) {
    case ReduceOp::kProd:
      return a * b;
    case ReduceOp::kMin:
      return std::min(a, b);
    case ReduceOp::kMax:
      return std::max(a, b);
    case ReduceOp::kSum:
    case ReduceOp::kAvg:
      break;
  }
  return a + b;
}

// Element i of the result's array, in double precision.
template <typename T>
double expected(const Result& result, Values kind, std::size_t i) {
  const Collective& call = result.call;
  const auto one = [&](int rank, std::size_t at) {
    return value<T>(kind, call.op, rank, result.ranks, at);
  };
  if (call.kind == CollectiveKind::kBroadcast) return one(call.root, i);
  if (call.kind == CollectiveKind::kAllGather) {
    return one(static_cast<int>(i / call.count), i % call.count);
  }
  if (call.kind == CollectiveKind::kReduceScatter) {
    i += static_cast<std::size_t>(result.rank) * call.count;
  }
  double sum = one(0, i);
  for (int rank = 1; rank < result.ranks; ++rank) {
    sum = combine(sum, one(rank, i), call.op);
  }
  return call.op == ReduceOp::kAvg ? sum / result.ranks : sum;
}

std::size_t elements_of(const Result& result) {
  const Collective& call = result.call;
  if (call.kind == CollectiveKind::kAllGather) {
    return call.count * static_cast<std::size_t>(result.ranks);
  }
  const bool elsewhere =
      call.kind == CollectiveKind::kReduce && result.rank != call.root;
  return elsewhere ? 0 : call.count;
}

// A quotient is rounded, and so may be the sum before it.
constexpr double kQuotientUlp = 2;

}  // namespace

void fill(void* data, std::size_t count, Dtype dtype, ReduceOp op, Values kind,
          int rank, int ranks) {
  with_type(dtype, [&]<typename T>(T) {
    auto* elements = static_cast<T*>(data);
    for (std::size_t i = 0; i < count; ++i) {
      elements[i] = element_of<T>(value<T>(kind, op, rank, ranks, i));
    }
  });
}

std::size_t count_wrong(const Result& result) {
  return with_type(result.call.dtype, [&]<typename T>(T) {
    const auto* data = static_cast<const T*>(result.data);
    const std::size_t count = elements_of(result);
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const double exact = expected<T>(result, Values::kExact, i);
      const double actual = value_of(data[i]);
      if (actual == exact) continue;
      const bool rounded =
          result.call.op == ReduceOp::kAvg &&
          ulp_error(actual, exact, FloatFormat<T>::kMantissa,
                    FloatFormat<T>::kMinExponent) <= kQuotientUlp;
      wrong += !rounded;
    }
    return wrong;
  });
}

double worst_ulp(const Result& result) {
  return with_type(result.call.dtype, [&]<typename T>(T) {
    const auto* data = static_cast<const T*>(result.data);
    const std::size_t count = elements_of(result);
    const std::size_t stride =
        std::max<std::size_t>(1, (count + kUlpElements - 1) / kUlpElements);
    double worst = 0;
    for (std::size_t i = 0; i < count; i += stride) {
      worst = std::max(
          worst,
          ulp_error(value_of(data[i]), expected<T>(result, Values::kReal, i),
                    FloatFormat<T>::kMantissa, FloatFormat<T>::kMinExponent));
    }
    return worst;
  });
}

}  // namespace ringlet
