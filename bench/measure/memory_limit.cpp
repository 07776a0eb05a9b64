#include "bench/measure/memory_limit.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "bench/measure/statistics.h"

namespace ringlet {
namespace {

constexpr std::size_t kLeastBytesPerPass = 4 << 20;
// Of a page, so that no vector straddles two lines or two pages.
constexpr std::align_val_t kAlignment{4096};

struct Release {
  void operator()(float* memory) const {
    ::operator delete(memory, kAlignment);
  }
};
using Floats = std::unique_ptr<float[], Release>;

// Written once, so that its pages are there.
Floats filled(std::size_t count, float value) {
  void* memory = ::operator new(count * sizeof(float), kAlignment);
  Floats floats(static_cast<float*>(memory));
  std::fill_n(floats.get(), count, value);
  return floats;
}

// Tells the compiler that memory is read and written here: what was stored
// counts, and must be loaded again.
void touch(const void* memory) { asm volatile("" : : "r"(memory) : "memory"); }

// The order of float additions is the compiler's to keep, so one running sum
// would wait for itself. These are many, eight vectors of AVX-512; adding them
// up at the end would take longer than a small buffer.
void read(const float* a, std::size_t count) {
  constexpr std::size_t kLanes = 128;
  std::array<float, kLanes> sums{};
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) sums[lane] += a[i + lane];
  }
  for (; i < count; ++i) sums[0] += a[i];
  touch(sums.data());
}

void copy(const float* from, float* to, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) to[i] = from[i];
}

void add(const float* from, float* to, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) to[i] += from[i];
}

// Median of bytes/s of `work`, which moves `bytes`. The first pass, which only
// fills caches, is not counted.
template <typename Work>
double bandwidth(std::size_t bytes, int repeats, Work work) {
  using Clock = std::chrono::steady_clock;
  const std::size_t rounds = (kLeastBytesPerPass + bytes - 1) / bytes;
  std::vector<double> speeds;
  for (int pass = 0; pass <= repeats; ++pass) {
    const auto start = Clock::now();
    for (std::size_t round = 0; round < rounds; ++round) work();
    const std::chrono::duration<double> time = Clock::now() - start;
    if (pass == 0) continue;
    speeds.push_back(static_cast<double>(rounds * bytes) / time.count());
  }
  return median(speeds);
}

}  // namespace

MemoryLimit measure_memory_limit(std::size_t bytes, int repeats) {
  if (bytes < sizeof(float) || repeats < 1) {
    throw std::invalid_argument(
        "memory limit of " + std::to_string(bytes) + " bytes, " +
        std::to_string(repeats) + " repeats: expected at least " +
        std::to_string(sizeof(float)) + " bytes and 1 repeat");
  }
  const std::size_t count = bytes / sizeof(float);
  const Floats a = filled(count, 0);
  const Floats b = filled(count, 1);
  const std::size_t moved = count * sizeof(float);
  MemoryLimit limit{};
  limit.read = bandwidth(moved, repeats, [&] {
    touch(a.get());
    read(a.get(), count);
  });
  limit.copy = bandwidth(2 * moved, repeats, [&] {
    copy(a.get(), b.get(), count);
    touch(b.get());
  });
  limit.add = bandwidth(3 * moved, repeats, [&] {
    add(b.get(), a.get(), count);
    touch(a.get());
  });
  return limit;
}

}  // namespace ringlet
