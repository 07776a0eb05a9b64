#include "conformance.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <random>
#include <type_traits>
#include <vector>

#include "kernels/runtime/check.h"

namespace ringlet::testing {
namespace {

constexpr std::size_t kGuardBytes = 64;
constexpr std::byte kGuard{0xA5};

// An array between two rows of guard bytes.
template <typename T>
class Guarded {
 public:
  explicit Guarded(std::size_t count)
      : count_(count), memory_(2 * kGuardBytes + count * sizeof(T), kGuard) {}

  T* data() { return reinterpret_cast<T*>(memory_.data() + kGuardBytes); }
  T& operator[](std::size_t i) { return data()[i]; }

  void check_guards() const {
    const auto end = memory_.end() - kGuardBytes;
    const auto is_guard = [](std::byte b) { return b == kGuard; };
    RINGLET_CHECK(
        std::all_of(memory_.begin(), memory_.begin() + kGuardBytes, is_guard),
        "wrote before an array of {}", count_);
    RINGLET_CHECK(std::all_of(end, memory_.end(), is_guard),
                  "wrote behind an array of {}", count_);
  }

 private:
  std::size_t count_;
  std::vector<std::byte> memory_;
};

// Small whole numbers without a period: all sums and products of up to eight
// ranks are exact and fit an u8, and an element that lands in another's place
// shows. (Where an integer overflows, MPI and we differ: for u8, Open MPI
// saturates.)
template <typename T>
T contribution(int rank, std::size_t i, ReduceOp op) {
  const std::uint64_t mixed =
      (i + 1) * 0x9E3779B97F4A7C15u + static_cast<unsigned>(rank) * 0x85EBCA6Bu;
  const auto digit = static_cast<int>((mixed >> 40) % 23);
  if (op == ReduceOp::kProd)
    return static_cast<T>(rank > 0 ? 1 + digit % 2 : 1);
  return static_cast<T>(std::is_signed_v<T> ? digit - 11 : digit);
}

template <typename T>
T combine(T a, T b, ReduceOp op) {
  switch (op) {
    case ReduceOp::kSum:
      return static_cast<T>(a + b);
    case ReduceOp::kProd:
      return static_cast<T>(a * b);
    case ReduceOp::kMin:
      return std::min(a, b);
    case ReduceOp::kMax:
      break;
  }
  return std::max(a, b);
}

template <typename T>
Guarded<T> contributions(int rank, std::size_t count, ReduceOp op) {
  Guarded<T> data(count);
  for (std::size_t i = 0; i < count; ++i) {
    data[i] = contribution<T>(rank, i, op);
  }
  return data;
}

template <typename T>
void check_result(Guarded<T>& data, std::size_t count, int ranks, Dtype dtype,
                  ReduceOp op) {
  for (std::size_t i = 0; i < count; ++i) {
    T expected = contribution<T>(0, i, op);
    for (int rank = 1; rank < ranks; ++rank) {
      expected = combine(expected, contribution<T>(rank, i, op), op);
    }
    RINGLET_CHECK(data[i] == expected,
                  "{} of {} {} on {} ranks: element {} is {}, expected {}",
                  name_of(op), count, name_of(dtype), ranks, i, data[i],
                  expected);
  }
  data.check_guards();
}

std::vector<std::size_t> sizes(int ranks, std::size_t elements_per_slice) {
  const auto n = static_cast<std::size_t>(ranks);
  const std::size_t slice = n * elements_per_slice;  // one from each chunk
  return {0,         1,     n - 1,     n,         n + 1,         31,
          slice - 1, slice, slice + 1, 2 * slice, 3 * slice + 1, 1009};
}

template <typename T>
void check_all_reduce(Communicator& communicator, std::size_t slice_bytes,
                      Dtype dtype) {
  const int ranks = communicator.size();
  for (const ReduceOp op :
       {ReduceOp::kSum, ReduceOp::kProd, ReduceOp::kMin, ReduceOp::kMax}) {
    for (const std::size_t count : sizes(ranks, slice_bytes / sizeof(T))) {
      auto data = contributions<T>(communicator.rank(), count, op);
      communicator.all_reduce(data.data(), count, dtype, op);
      check_result(data, count, ranks, dtype, op);
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
        const auto expected =
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

void check_conformance(Communicator& communicator, std::size_t slice_bytes) {
  check_all_reduce<float>(communicator, slice_bytes, Dtype::kF32);
  check_all_reduce<double>(communicator, slice_bytes, Dtype::kF64);
  check_all_reduce<std::int32_t>(communicator, slice_bytes, Dtype::kI32);
  check_all_reduce<std::int64_t>(communicator, slice_bytes, Dtype::kI64);
  check_all_reduce<std::uint8_t>(communicator, slice_bytes, Dtype::kU8);
  check_identical_bits(communicator);
  check_async(communicator);
  check_broadcast(communicator);
  check_bad_root(communicator);
  communicator.barrier();
}

}  // namespace ringlet::testing
