#include "bench/allreduce_perf/arrays.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "bench/allreduce_perf/values.h"
#include "bench/measure/statistics.h"
#include "kernels/runtime/cuda_library.h"

namespace ringlet {
namespace {

// Below, the memory's limit would be that of the first-level cache.
constexpr std::size_t kLeastLimitBytes = 64 << 10;
constexpr int kLimitRepeats = 3;

// A "1" of that dtype in each element.
void fill_with_ones(void* data, std::size_t bytes, Dtype dtype) {
  alignas(8) std::byte pattern[8];
  for (std::size_t i = 0; i < sizeof pattern; i += size_of(dtype)) {
    fill(pattern + i, 1, dtype, ReduceOp::kProd, Values::kExact, 3, 4);
  }
  std::uint64_t word;
  std::memcpy(&word, pattern, sizeof word);
  auto* words = static_cast<std::uint64_t*>(data);
  std::fill_n(words, bytes / sizeof word, word);
  std::memcpy(words + bytes / sizeof word, pattern, bytes % sizeof word);
}

// Bytes/s read and written by a copy within the GPU's memory, median.
double gpu_copy_rate(void* to, const void* from, std::size_t bytes) {
  constexpr int kCopies = 20;
  const auto timer = cuda::library().make_timer();
  std::vector<double> rates;
  for (int pass = 0; pass <= kLimitRepeats; ++pass) {
    timer->start();
    for (int i = 0; i < kCopies; ++i) cuda::library().copy(to, from, bytes);
    timer->stop();
    const double seconds = timer->seconds();
    if (pass == 0) continue;
    rates.push_back(2.0 * kCopies * static_cast<double>(bytes) / seconds);
  }
  return median(rates);
}

}  // namespace

Arrays::Arrays(const PerfOptions& options) : options_(options) {
  std::size_t bytes = options.max_bytes;
  if (options.device == Device::kCuda) {
    bytes = std::max(bytes, kLeastLimitBytes);
    input_ = Buffer::allocate(bytes, Device::kCuda);
    output_ = Buffer::allocate(bytes, Device::kCuda);
    host_input_ = Buffer::allocate(bytes);
    host_output_ = Buffer::allocate(bytes);
    return;
  }
  if (options.registered) {
    allocator_ = make_communicator("auto");
    input_ = host_input_ = allocator_->allocate(bytes);
    output_ = host_output_ = allocator_->allocate(bytes);
  } else {
    input_ = host_input_ = Buffer::allocate(bytes, options.pages);
    output_ = host_output_ = Buffer::allocate(bytes, options.pages);
  }
}

Arrays::~Arrays() = default;

std::byte* Arrays::on_host(const void* data) const {
  const auto* place = static_cast<const std::byte*>(data);
  const bool in_input = input() <= place && place <= input() + input_.bytes();
  const Buffer& host = in_input ? host_input_ : host_output_;
  return host.data() + (place - (in_input ? input() : output()));
}

void Arrays::to_device(void* data, std::size_t bytes) const {
  if (options_.device == Device::kCpu) return;
  copy_memory(data, Device::kCuda, on_host(data), Device::kCpu, bytes);
}

void Arrays::to_host(const void* data, std::size_t bytes) const {
  if (options_.device == Device::kCpu) return;
  copy_memory(on_host(data), Device::kCpu, data, Device::kCuda, bytes);
}

void Arrays::rewrite(void* data, std::size_t bytes, Dtype dtype) {
  if (options_.device == Device::kCpu) {
    return fill_with_ones(data, bytes, dtype);
  }
  if (ones_.bytes() == 0 || ones_dtype_ != dtype) {
    const std::size_t all = input_.bytes();
    fill_with_ones(host_input_.data(), all, dtype);
    ones_ = Buffer::allocate(all, Device::kCuda);
    ones_dtype_ = dtype;
    copy_memory(ones_.data(), Device::kCuda, host_input_.data(), Device::kCpu,
                all);
  }
  copy_memory(data, Device::kCuda, ones_.data(), Device::kCuda, bytes);
  synchronize();
}

void Arrays::synchronize() const { ringlet::synchronize(options_.device); }

MemoryLimit Arrays::measure_limit(std::size_t bytes) const {
  bytes = std::max(bytes, kLeastLimitBytes);
  if (options_.device == Device::kCpu) {
    return measure_memory_limit(bytes, kLimitRepeats);
  }
  MemoryLimit limit{};
  limit.copy = gpu_copy_rate(output(), input(), bytes);
  return limit;
}

}  // namespace ringlet
