#include "collectives/conformance.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <type_traits>
#include <vector>

#include "kernels/runtime/check.h"
#include "kernels/runtime/element.h"
#include "kernels/runtime/layout.h"

namespace ringlet::testing {
namespace {

constexpr std::size_t kGuardBytes = 64;
constexpr std::byte kGuard{0xA5};

// Where the arrays of a check lie: in memory that the communicator gave, cut
// piece by piece and begun anew when no piece is in use, or in the process's
// own.
class Memory {
 public:
  Memory(Communicator& communicator, Arrays arrays) {
    constexpr std::size_t kBytes = 4 << 20;
    if (arrays == Arrays::kAllocated) all_ = communicator.allocate(kBytes);
  }

  std::shared_ptr<std::byte> piece(std::size_t bytes) {
    if (all_.bytes() == 0) {
      return {new std::byte[bytes], std::default_delete<std::byte[]>()};
    }
    if (in_use_ == 0) end_ = 0;
    RINGLET_CHECK(end_ + bytes <= all_.bytes(), "arrays of {} more bytes",
                  bytes);
    std::byte* begin = all_.data() + end_;
    end_ += bytes;
    ++in_use_;
    return {begin, [this](std::byte*) { --in_use_; }};
  }

 private:
  Buffer all_;
  std::size_t end_ = 0, in_use_ = 0;
};

// Of the rank whose thread this is.
thread_local Memory* memory = nullptr;

// An array between two rows of guard bytes.
template <typename T>
class Guarded {
 public:
  explicit Guarded(std::size_t count)
      : count_(count),
        bytes_(2 * kGuardBytes + round_up(count * sizeof(T), kGuardBytes)),
        memory_(memory->piece(bytes_)) {
    std::fill_n(memory_.get(), bytes_, kGuard);
  }

  T* data() { return reinterpret_cast<T*>(memory_.get() + kGuardBytes); }
  T& operator[](std::size_t i) { return data()[i]; }

  void check_guards() const {
    const std::byte* begin = memory_.get();
    const std::byte* end = begin + kGuardBytes + count_ * sizeof(T);
    const auto is_guard = [](std::byte b) { return b == kGuard; };
    RINGLET_CHECK(std::all_of(begin, begin + kGuardBytes, is_guard),
                  "wrote before an array of {}", count_);
    RINGLET_CHECK(std::all_of(end, begin + bytes_, is_guard),
                  "wrote behind an array of {}", count_);
  }

 private:
  std::size_t count_, bytes_;
  std::shared_ptr<std::byte> memory_;
};

// The distance of neighbours around 1; 0 for integers.
template <typename T>
double epsilon_of() {
  if constexpr (std::is_same_v<T, Half>) {
    return 0x1p-10;
  } else if constexpr (std::is_same_v<T, BFloat16>) {
    return 0x1p-7;
  } else {
    return static_cast<double>(std::numeric_limits<T>::epsilon());
  }
}

// Small whole numbers without a period: all sums and products of up to sixteen
// ranks are exact in every type (bfloat16 holds whole numbers up to 256, and
// powers of two), and an element that lands in another's place shows. Where an
// integer overflows, MPI and we differ (for u8, Open MPI saturates): in a u8,
// eight ranks' digits fill 176 of 255, so the others' are smaller, and eight
// ranks' factors fill all of it, so the others' are 0 or 1.
template <typename T>
double contribution(int rank, std::size_t i, ReduceOp op) {
  const std::uint64_t mixed =
      (i + 1) * 0x9E3779B97F4A7C15u + static_cast<unsigned>(rank) * 0x85EBCA6Bu;
  const auto digit = static_cast<int>((mixed >> 40) % 23);
  if (std::is_unsigned_v<T> && rank >= 8) {
    return op == ReduceOp::kProd ? digit > 0 : digit % 9;
  }
  if (op == ReduceOp::kProd) return rank > 0 ? 1 + digit % 2 : 1;
  return std::is_unsigned_v<T> ? digit : digit - 11;
}

template <typename T>
double combined(int ranks, std::size_t i, ReduceOp op) {
  double result = contribution<T>(0, i, op);
  for (int rank = 1; rank < ranks; ++rank) {
    const double other = contribution<T>(rank, i, op);
    switch (op) {
      case ReduceOp::kSum:
      case ReduceOp::kAvg:
        result += other;
        break;
      case ReduceOp::kProd:
        result *= other;
        break;
      case ReduceOp::kMin:
        result = std::min(result, other);
        break;
      case ReduceOp::kMax:
        result = std::max(result, other);
        break;
    }
  }
  return op == ReduceOp::kAvg ? result / ranks : result;
}

template <typename T>
Guarded<T> contributions(int rank, std::size_t count, ReduceOp op) {
  Guarded<T> data(count);
  for (std::size_t i = 0; i < count; ++i) {
    data[i] = element_of<T>(contribution<T>(rank, i, op));
  }
  return data;
}

// Elements [first, first + count) of the result of `ranks` ranks. Averages may
// be rounded once for the sum, once for the quotient.
template <typename T>
void check_result(Guarded<T>& data, std::size_t count, int ranks, Dtype dtype,
                  ReduceOp op, std::size_t first = 0) {
  const double tolerance = op == ReduceOp::kAvg ? 2 * epsilon_of<T>() : 0;
  for (std::size_t i = 0; i < count; ++i) {
    const double expected = combined<T>(ranks, first + i, op);
    const double actual = value_of(data[i]);
    RINGLET_CHECK(std::abs(actual - expected) <= tolerance * std::abs(expected),
                  "{} of {} {} on {} ranks: element {} is {}, expected {}",
                  name_of(op), count, name_of(dtype), ranks, first + i, actual,
                  expected);
  }
  data.check_guards();
}

template <typename T>
void check_contribution(Guarded<T>& data, std::size_t count, int rank,
                        ReduceOp op) {
  for (std::size_t i = 0; i < count; ++i) {
    RINGLET_CHECK(value_of(data[i]) == contribution<T>(rank, i, op),
                  "input element {} of {} was changed to {}", i, count,
                  value_of(data[i]));
  }
  data.check_guards();
}

std::vector<ReduceOp> ops_of(Dtype dtype) {
  std::vector<ReduceOp> ops{ReduceOp::kSum, ReduceOp::kProd, ReduceOp::kMin,
                            ReduceOp::kMax};
  if (is_floating(dtype)) ops.push_back(ReduceOp::kAvg);
  return ops;
}

// Around all that is special: every size for sums of f32, some for the rest.
std::vector<std::size_t> sizes(int ranks, std::size_t elements_per_slice,
                               bool all) {
  const auto n = static_cast<std::size_t>(ranks);
  const std::size_t slice = n * elements_per_slice;  // one from each chunk
  if (!all) return {1, n + 1, slice + 1};
  return {0,         1,     n - 1,     n,         n + 1,         31,
          slice - 1, slice, slice + 1, 2 * slice, 3 * slice + 1, 1009};
}

template <typename T>
void check_all_reduce(Communicator& communicator, std::size_t slice_bytes,
                      Dtype dtype) {
  const int ranks = communicator.size();
  for (const ReduceOp op : ops_of(dtype)) {
    const bool all = dtype == Dtype::kF32 && op == ReduceOp::kSum;
    for (const std::size_t count : sizes(ranks, slice_bytes / sizeof(T), all)) {
      auto data = contributions<T>(communicator.rank(), count, op);
      communicator.all_reduce(data.data(), count, dtype, op);
      check_result(data, count, ranks, dtype, op);
    }
    constexpr std::size_t kCount = 101;
    auto input = contributions<T>(communicator.rank(), kCount, op);
    Guarded<T> output(kCount);
    communicator.all_reduce(input.data(), output.data(), kCount, dtype, op);
    check_contribution(input, kCount, communicator.rank(), op);
    check_result(output, kCount, ranks, dtype, op);
  }
}

template <typename T>
void check_reduce_scatter(Communicator& communicator, Dtype dtype,
                          ReduceOp op) {
  const int ranks = communicator.size();
  const auto rank = static_cast<std::size_t>(communicator.rank());
  for (const std::size_t count : {0, 1, 5, 67}) {
    const std::size_t total = count * static_cast<std::size_t>(ranks);
    auto input = contributions<T>(communicator.rank(), total, op);
    Guarded<T> output(count);
    communicator.reduce_scatter(input.data(), output.data(), count, dtype, op);
    check_contribution(input, total, communicator.rank(), op);
    check_result(output, count, ranks, dtype, op, rank * count);

    T* own = input.data() + rank * count;
    communicator.reduce_scatter(input.data(), own, count, dtype, op);
    Guarded<T> part(count);
    std::copy_n(own, count, part.data());
    check_result(part, count, ranks, dtype, op, rank * count);
    input.check_guards();
  }
}

template <typename T>
void check_all_gather(Communicator& communicator, Dtype dtype) {
  const auto ranks = static_cast<std::size_t>(communicator.size());
  const auto rank = static_cast<std::size_t>(communicator.rank());
  for (const std::size_t count : {0, 1, 5, 67}) {
    for (const bool in_place : {false, true}) {
      auto input = contributions<T>(communicator.rank(), count, ReduceOp::kSum);
      Guarded<T> output(count * ranks);
      T* own = output.data() + rank * count;
      if (in_place) std::copy_n(input.data(), count, own);
      communicator.all_gather(in_place ? own : input.data(), output.data(),
                              count, dtype);
      check_contribution(input, count, communicator.rank(), ReduceOp::kSum);
      for (std::size_t i = 0; i < count * ranks; ++i) {
        const double expected = contribution<T>(static_cast<int>(i / count),
                                                i % count, ReduceOp::kSum);
        RINGLET_CHECK(value_of(output[i]) == expected,
                      "all_gather of {} {}: element {} is {}, expected {}",
                      count, name_of(dtype), i, value_of(output[i]), expected);
      }
      output.check_guards();
    }
  }
}

template <typename T>
void check_reduce(Communicator& communicator, Dtype dtype, ReduceOp op) {
  for (int root = 0; root < communicator.size(); ++root) {
    for (const std::size_t count : {0, 1, 31}) {
      auto data = contributions<T>(communicator.rank(), count, op);
      communicator.reduce(data.data(), count, dtype, op, root);
      if (communicator.rank() == root) {
        check_result(data, count, communicator.size(), dtype, op);
      }
      data.check_guards();
    }
  }
}

// Sums that depend on the order of addition must still agree in every bit.
void check_identical_bits(Communicator& communicator) {
  constexpr std::size_t kCount = 1013;
  std::mt19937 random(static_cast<unsigned>(communicator.rank()));
  std::normal_distribution<float> normal;
  std::vector<float> sums(kCount);
  for (float& value : sums) value = normal(random);
  communicator.all_reduce(sums.data(), kCount, Dtype::kF32, ReduceOp::kSum);

  std::vector<std::int32_t> bits(kCount);
  std::memcpy(bits.data(), sums.data(), kCount * sizeof(float));
  auto least = bits, most = bits;
  communicator.all_reduce(least.data(), kCount, Dtype::kI32, ReduceOp::kMin);
  communicator.all_reduce(most.data(), kCount, Dtype::kI32, ReduceOp::kMax);
  RINGLET_CHECK(least == bits && most == bits, "ranks hold different bits");
}

// Several in flight, with blocking calls in between, waited for out of order.
void check_async(Communicator& communicator) {
  constexpr std::size_t kBuckets = 6;
  const int rank = communicator.rank();
  const auto count = [](std::size_t bucket) { return 1 + 211 * bucket; };

  std::vector<Guarded<float>> buckets;
  for (std::size_t i = 0; i < kBuckets; ++i) {
    buckets.push_back(contributions<float>(rank, count(i), ReduceOp::kSum));
  }
  std::vector<Work> works;
  for (std::size_t i = 0; i < kBuckets; ++i) {
    works.push_back(communicator.all_reduce_async(buckets[i].data(), count(i),
                                                  Dtype::kF32, ReduceOp::kSum));
    if (i % 3 != 1) continue;
    auto between = contributions<double>(rank, 17, ReduceOp::kMax);
    communicator.all_reduce(between.data(), 17, Dtype::kF64, ReduceOp::kMax);
    check_result(between, 17, communicator.size(), Dtype::kF64, ReduceOp::kMax);
    RINGLET_CHECK(works.back().done(), "a later call came first");
  }
  for (std::size_t i = kBuckets; i-- > 0;) {
    works[i].wait();
    RINGLET_CHECK(works[i].done(), "waited for, but not done");
    check_result(buckets[i], count(i), communicator.size(), Dtype::kF32,
                 ReduceOp::kSum);
  }
  communicator.barrier();
}

void check_broadcast(Communicator& communicator) {
  for (int root = 0; root < communicator.size(); ++root) {
    for (const std::size_t bytes : {0, 1, 63, 100003}) {
      auto data = contributions<std::uint8_t>(communicator.rank(), bytes,
                                              ReduceOp::kSum);
      communicator.broadcast(data.data(), bytes, root);
      for (std::size_t i = 0; i < bytes; ++i) {
        const double expected =
            contribution<std::uint8_t>(root, i, ReduceOp::kSum);
        RINGLET_CHECK(data[i] == expected,
                      "broadcast of {} bytes from {}: byte {} is {}, not {}",
                      bytes, root, i, data[i], expected);
      }
      data.check_guards();
    }
  }
}

void check_bad_root(Communicator& communicator) {
  char byte = 0;
  bool refused = false;
  try {
    communicator.broadcast(&byte, 1, communicator.size());
  } catch (const Error&) {
    refused = true;
  }
  RINGLET_CHECK(refused, "a root beyond the last rank was taken");
}

}  // namespace

void check_conformance(Communicator& communicator, std::size_t slice_bytes,
                       Arrays arrays) {
  Memory own(communicator, arrays);
  memory = &own;
  check_all_reduce<float>(communicator, slice_bytes, Dtype::kF32);
  check_all_reduce<double>(communicator, slice_bytes, Dtype::kF64);
  check_all_reduce<std::int32_t>(communicator, slice_bytes, Dtype::kI32);
  check_all_reduce<std::int64_t>(communicator, slice_bytes, Dtype::kI64);
  check_all_reduce<std::uint8_t>(communicator, slice_bytes, Dtype::kU8);
  check_all_reduce<Half>(communicator, slice_bytes, Dtype::kF16);
  check_all_reduce<BFloat16>(communicator, slice_bytes, Dtype::kBF16);
  check_reduce_scatter<float>(communicator, Dtype::kF32, ReduceOp::kSum);
  check_reduce_scatter<float>(communicator, Dtype::kF32, ReduceOp::kAvg);
  check_reduce_scatter<BFloat16>(communicator, Dtype::kBF16, ReduceOp::kMax);
  check_all_gather<double>(communicator, Dtype::kF64);
  check_all_gather<std::uint8_t>(communicator, Dtype::kU8);
  check_reduce<float>(communicator, Dtype::kF32, ReduceOp::kAvg);
  check_reduce<Half>(communicator, Dtype::kF16, ReduceOp::kSum);
  check_reduce<std::int64_t>(communicator, Dtype::kI64, ReduceOp::kMin);
  check_identical_bits(communicator);
  check_async(communicator);
  check_broadcast(communicator);
  check_bad_root(communicator);
  communicator.barrier();
}

}  // namespace ringlet::testing
