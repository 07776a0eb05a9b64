// Usage: buggy BUG
//
// Runs the kernels of buggy_kernels.cuh with one bug, or with "none", in the
// order that CUDACPU_ORDER says. Ends with 0 and prints "right" where all
// results are; with 1 and what is wrong otherwise; with 2 and the emulator's
// message where that found it. A sanitizer ends it in its own way.

#include <cstdio>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "cuda/device_array.h"
#include "cudacpu/buggy_kernels.cuh"

namespace buggy {
namespace {

using ringlet::testing::DeviceArray;

// Sums of these are exact in any order.
std::vector<float> small_integers(int count) {
  std::vector<float> values;
  for (int i = 0; i < count; ++i) {
    values.push_back(static_cast<float>(i * 7 % 23 - 11));
  }
  return values;
}

void expect(const std::vector<float>& got, const std::vector<float>& wanted,
            const char* what) {
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (got[i] == wanted[i]) continue;  // a NaN equals nothing
    std::printf("%s[%zu] is %g, expected %g\n", what, i,
                static_cast<double>(got[i]), static_cast<double>(wanted[i]));
    std::exit(1);
  }
}

template <Bug kBug>
void run_relu() {
  constexpr int kCount = 101;
  const std::vector<float> x = small_integers(kCount + 1);
  std::vector<float> wanted;
  for (const float v : x) wanted.push_back(v > 0 ? v : 0);
  const bool shifted = kBug == Bug::kMisaligned;
  const int count = kCount - shifted;
  const DeviceArray<float> in(
      std::vector<float>(x.begin(), x.end() - 1 + shifted));
  DeviceArray<float> out(static_cast<std::size_t>(kCount + shifted));
  const float* from = kBug == Bug::kHostPointer ? x.data() : in.data();
  launch(relu<kBug>, dim3(2), dim3(16), 0, nullptr, from + shifted,
         out.data() + shifted, count);
  if (kBug == Bug::kReadOnHost) {
    std::printf("%g\n", static_cast<double>(*out.data()));
  }
  const std::vector<float> got = out.to_host();
  expect({got.begin() + shifted, got.begin() + shifted + count},
         {wanted.begin() + shifted, wanted.begin() + shifted + count}, "relu");
}

// Some columns beyond the last whole warp; in the small matrix some threads
// without a row.
template <Bug kBug>
void run_column_sums(int rows) {
  constexpr int kColumns = 38, kBlocks = 3;
  const int rows_per_block = (rows + kBlocks - 1) / kBlocks;
  const std::vector<float> x = small_integers(rows * kColumns);
  std::vector<float> wanted(kColumns);
  for (int i = 0; i < rows * kColumns; ++i) wanted[i % kColumns] += x[i];
  const DeviceArray<float> in(x);
  DeviceArray<float> partial(std::vector<float>(kBlocks * kColumns, 0.0f));
  launch(column_sums<kBug>, dim3((kColumns + 31) / 32, kBlocks), dim3(32, 8), 0,
         nullptr, in.data(), partial.data(), rows, kColumns, rows_per_block);
  const std::vector<float> parts = partial.to_host();
  std::vector<float> got(kColumns);
  for (int i = 0; i < kBlocks * kColumns; ++i) got[i % kColumns] += parts[i];
  expect(got, wanted, "column sum");
}

template <Bug kBug>
void run_row_sums() {
  constexpr int kRows = 20, kColumns = 64;
  const std::vector<float> x = small_integers(kRows * kColumns);
  std::vector<float> wanted(kRows);
  float total = 0;
  for (int i = 0; i < kRows * kColumns; ++i) {
    wanted[i / kColumns] += x[i];
    total += x[i];
  }
  const DeviceArray<float> in(x);
  DeviceArray<float> sums(std::size_t{kRows}), all(std::size_t{1});
  DeviceArray<unsigned> done(std::vector<unsigned>{0});
  launch(row_sums<kBug>, dim3(kRows), dim3(kColumns), 0, nullptr, in.data(),
         sums.data(), all.data(), done.data());
  expect(sums.to_host(), wanted, "row sum");
  expect(all.to_host(), {total}, "total");
}

template <Bug kBug>
void run() {
  run_relu<kBug>();
  run_column_sums<kBug>(101);
  run_column_sums<kBug>(20);
  run_row_sums<kBug>();
}

const std::map<std::string, void (*)()> kRuns = {
    {"none", run<Bug::kNone>},
    {"tail_too_long", run<Bug::kTailTooLong>},
    {"no_column_guard", run<Bug::kNoColumnGuard>},
    {"shared_too_small", run<Bug::kSharedTooSmall>},
    {"shared_not_written", run<Bug::kSharedNotWritten>},
    {"exit_before_barrier", run<Bug::kExitBeforeBarrier>},
    {"no_barrier", run<Bug::kNoBarrier>},
    {"no_barrier_at_end", run<Bug::kNoBarrierAtEnd>},
    {"two_barriers", run<Bug::kTwoBarriers>},
    {"shuffle_in_if", run<Bug::kShuffleInIf>},
    {"no_atomic", run<Bug::kNoAtomic>},
    {"misaligned", run<Bug::kMisaligned>},
    {"host_pointer", run<Bug::kHostPointer>},
    {"read_on_host", run<Bug::kReadOnHost>},
    {"order_dependent", run<Bug::kOrderDependent>},
};

}  // namespace
}  // namespace buggy

int main(int argc, char** argv) {
  const auto found = buggy::kRuns.find(argc > 1 ? argv[1] : "");
  if (found == buggy::kRuns.end()) {
    std::fprintf(stderr, "usage: buggy BUG\n");
    return 3;
  }
  try {
    found->second();
  } catch (const std::runtime_error& error) {
    std::printf("%s\n", error.what());
    return 2;
  }
  std::printf("right\n");
}
