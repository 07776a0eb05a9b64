// What kernels/cpu/conv_table.h is made from: for each stride-1 3x3 convolution
// of the CIFAR ResNets, how much faster oneDNN's Winograd kernels are than its
// direct ones. The two are timed in turn; printed is the median of the pairs'
// ratios, and the smallest and largest, for each pass.
//
//   conv_table [BATCH...]      pictures per batch, 16 32 64 by default

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <vector>

#include "engine/metrics/stopwatch.h"
#include "engine/tensor/tensor.h"
#include "kernels/backend.h"
#include "kernels/runtime/threads.h"

namespace {

using namespace ringlet;

constexpr int kPairs = 15;

struct Map {
  std::size_t channels, size;
};

// Stages of ResNet-50's CIFAR form, then of ResNet-20's.
constexpr Map kMaps[] = {{64, 32}, {128, 16}, {256, 8}, {512, 4},
                         {16, 32}, {32, 16},  {64, 8}};

double seconds_of(ConvAlgorithm algorithm, const std::function<void()>& pass) {
  set_conv_algorithm(algorithm);
  const Stopwatch stopwatch;
  pass();
  return stopwatch.seconds();
}

void compare(const char* name, const std::function<void()>& pass) {
  seconds_of(ConvAlgorithm::kDirect, pass);  // compiles the kernels
  seconds_of(ConvAlgorithm::kWinograd, pass);
  std::vector<double> ratios;
  for (int i = 0; i < kPairs; ++i) {
    const double direct = seconds_of(ConvAlgorithm::kDirect, pass);
    ratios.push_back(direct / seconds_of(ConvAlgorithm::kWinograd, pass));
  }
  std::sort(ratios.begin(), ratios.end());
  fmt::print("  {} {:.2f} ({:.2f}-{:.2f})", name, ratios[kPairs / 2],
             ratios.front(), ratios.back());
}

void compare_map(const Map& map, std::size_t batch) {
  const ConvShape shape{
      batch, map.channels, map.size, map.size, map.channels, 3, 3, 1, 1};
  Backend& device = backend();
  const Layout layout = device.activation_layout;
  const ConvArgs args{shape, layout};
  const auto dim = [](std::size_t size) {
    return static_cast<std::int64_t>(size);
  };
  const Shape activation{dim(batch), dim(map.channels), dim(map.size),
                         dim(map.size)};
  const Tensor x = Tensor::zeros(activation, Dtype::kF32, layout);
  const Tensor y = Tensor::zeros(activation, Dtype::kF32, layout);
  const Tensor weight =
      Tensor::zeros({dim(map.channels), dim(map.channels), 3, 3});
  fmt::print("{:3} channels {:2}x{:<2}", map.channels, map.size, map.size);
  compare("forward", [&] {
    device.conv.forward(args, x.data(), weight.data(), nullptr, y.data());
  });
  compare("backward data", [&] {
    device.conv.backward_data(args, y.data(), weight.data(), x.data());
  });
  compare("backward weights", [&] {
    device.conv.backward_weights(args, x.data(), y.data(), weight.data(),
                                 nullptr);
  });
  fmt::print("\n");
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::size_t> batches{16, 32, 64};
  if (argc > 1) batches.clear();
  for (int i = 1; i < argc; ++i) {
    batches.push_back(static_cast<std::size_t>(std::atoi(argv[i])));
  }
  for (const std::size_t batch : batches) {
    fmt::print(
        "Winograd's speed over direct, median (range) of {} pairs; batch {}, "
        "{} threads, {}\n",
        kPairs, batch, kernel_threads(), backend_version());
    for (const Map& map : kMaps) compare_map(map, batch);
  }
}
