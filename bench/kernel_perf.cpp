// What each kind of kernel takes of a training step, and how near that is to
// what the device can do: floating-point operations and bytes, time, and the
// share of the limit. The limit is the larger of two times: the operations at
// the rate of a large matrix product, and the bytes (each array once for each
// pass over it) at the rate of a large copy, both measured here in the same
// run. On a GPU each call is timed by events, with work enqueued before it, so
// that the host's part is not in it.

#include <fmt/chrono.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>

#include "bench/measure/statistics.h"
#include "bench/profile/fma_peak.h"
#include "bench/profile/kernel_profile.h"
#include "engine/autograd/ops.h"
#include "engine/io/run_directory.h"
#include "engine/metrics/stopwatch.h"
#include "engine/optim/sgd.h"
#include "engine/train/compute.h"
#include "kernels/runtime/cuda_library.h"
#include "kernels/runtime/error.h"
#include "kernels/runtime/philox.h"
#include "models/resnet.h"

namespace {

using namespace ringlet;
using nlohmann::ordered_json;

constexpr double kMicro = 1e-6, kGiga = 1e9, kTera = 1e12;

struct Options {
  std::string model = "resnet50";
  std::string device = "auto";
  std::string precision = "auto";
  std::size_t batch = 128;
  std::size_t steps = 10;
  std::string json;
};

std::int64_t size(std::size_t value) {
  return static_cast<std::int64_t>(value);
}

// Median seconds of a call, after one that is not counted.
template <typename Call>
double median_seconds(Device device, Call call) {
  constexpr int kCalls = 11;
  std::vector<double> seconds;
  for (int i = 0; i <= kCalls; ++i) {
    synchronize(device);
    const Stopwatch stopwatch;
    call();
    synchronize(device);
    if (i > 0) seconds.push_back(stopwatch.seconds());
  }
  return quantile(seconds, 0.5);
}

// Bytes per second, reads and writes both counted, of a copy far larger than
// caches.
double copy_rate(Device device) {
  const std::size_t bytes = std::size_t{1}
                            << (device == Device::kCuda ? 30 : 28);
  const Tensor from =
      Tensor::zeros({size(bytes)}, Dtype::kU8, Layout::kPlain, device);
  const Tensor to = from.clone();
  return 2 * static_cast<double>(bytes) /
         median_seconds(device, [&] { to.copy_from(from); });
}

// Operations per second: on the CPU of f32 multiply-adds in registers, on a GPU
// of a product of large square matrices, of numbers as random as a network's,
// since zeros would take less power.
double flop_rate(const ComputeOptions& compute) {
  constexpr double kSeconds = 0.5;
  if (compute.device == Device::kCpu) return fma_peak_gflops(kSeconds) * kGiga;
  const std::size_t n = 8192;
  const Tensor host({1, size(n), size(n), 1});
  PhiloxStream random(1, RandomPurpose::kSyntheticData, 0, 0);
  for (std::size_t i = 0; i < n * n; ++i) {
    host.data()[i] = 2 * random.uniform() - 1;
  }
  const Tensor x =
      host.to(compute.device).to_layout(Layout::kPlain, compute.dtype);
  const Tensor y = x.clone();
  const Tensor bias =
      Tensor::zeros({size(n)}, Dtype::kF32, Layout::kPlain, compute.device);
  LinearKernels& kernels = backend(compute.device).linear;
  const double seconds = median_seconds(compute.device, [&] {
    kernels.forward({n, n, n, compute.dtype}, x.raw(), x.raw(), bias.data(),
                    y.raw());
  });
  return 2.0 * static_cast<double>(n * n * n) / seconds;
}

// A network and a batch of random pictures.
class Training {
 public:
  Training(const Options& options, const ComputeOptions& compute)
      : compute_(compute),
        model_(make_resnet(options.model, {})),
        images_(random_images(options.batch, compute)),
        labels_(Tensor::zeros({size(options.batch)}, Dtype::kI32,
                              Layout::kPlain, compute.device)),
        arena_((model_->initialize(1), model_->to(compute.device),
                model_->parameters()),
               {.dtype = compute.dtype}),
        sgd_(arena_, {.weight_decay = 5e-4f}) {}

  void step() {
    constexpr float kRate = 1e-3f;
    arena_.zero_grad();
    const CrossEntropyOutput out =
        cross_entropy(model_->forward(Variable(images_)), labels_);
    backward(out.loss);
    sgd_.step(kRate);
  }

 private:
  static Tensor random_images(std::size_t batch,
                              const ComputeOptions& compute) {
    constexpr std::int64_t kPixels = 32;
    const Tensor host({size(batch), 3, kPixels, kPixels});
    PhiloxStream random(1, RandomPurpose::kSyntheticData, 0, 1);
    for (std::size_t i = 0; i < host.count(); ++i) {
      host.data()[i] = 2 * random.uniform() - 1;
    }
    if (compute.device == Device::kCpu) {
      return host.to_layout(Layout::kPlain, compute.dtype);
    }
    return host.to(compute.device)
        .to_layout(backend(compute.device).activation_layout, compute.dtype);
  }

  ComputeOptions compute_;
  std::unique_ptr<ResNet> model_;
  Tensor images_, labels_;
  ParameterArena arena_;
  SGD sgd_;
};

// Gives the GPU something to do for so long that the host is ahead of it from
// then on.
void keep_busy(const Tensor& memory) {
  constexpr int kTimes = 200;
  for (int i = 0; i < kTimes; ++i) memory.fill_zero();
}

ordered_json measure(const Options& options, const ComputeOptions& compute) {
  const double bytes_rate = copy_rate(compute.device);
  const double flops_rate = flop_rate(compute);
  Training training(options, compute);
  const bool on_gpu = compute.device == Device::kCuda;
  const std::size_t filler_bytes = on_gpu ? std::size_t{1} << 29 : 1;
  const Tensor filler({size(filler_bytes)}, Dtype::kU8, Layout::kPlain,
                      compute.device);
  constexpr int kWarmUp = 2;
  // As a training does before it begins.
  if (on_gpu) cuda::library().set_conv_tuning(true);
  for (int i = 0; i < kWarmUp; ++i) training.step();
  KernelProfile profile(compute.device);
  for (std::size_t i = 0; i < options.steps; ++i) {
    if (on_gpu) keep_busy(filler);
    training.step();
  }
  ordered_json kernels = ordered_json::array();
  const auto steps = static_cast<double>(options.steps);
  for (const KernelProfile::Entry& entry : profile.entries()) {
    kernels.push_back({{"name", entry.name},
                       {"calls", static_cast<double>(entry.calls) / steps},
                       {"seconds", entry.seconds / steps},
                       {"flop", entry.flops / steps},
                       {"bytes", entry.bytes / steps},
                       {"limit_seconds", std::max(entry.flops / flops_rate,
                                                  entry.bytes / bytes_rate) /
                                             steps}});
  }
  const std::time_t now = std::time(nullptr);
  return {{"date", fmt::format("{:%Y-%m-%d}", fmt::gmtime(now))},
          {"host", host_info().hostname},
          {"device", on_gpu ? cuda::library().describe()
                            : host_info().cpu_model + ", " + backend_version()},
          {"precision", precision_name(compute)},
          {"model", options.model},
          {"batch_size", options.batch},
          {"steps", options.steps},
          {"copy_bytes_per_second", bytes_rate},
          {"flop_per_second", flops_rate},
          {"flop_limit", on_gpu ? "matrix product" : "fused multiply-add"},
          {"kernels", kernels}};
}

void print(const ordered_json& result) {
  fmt::print(
      "{} at batch {}, {} on {}\n"
      "limits: {:.0f} GB/s (copy), {:.2f} TFLOP/s ({})\n\n"
      "{:<22} {:>5} {:>9} {:>9} {:>8} {:>8} {:>8} {:>6}\n",
      result["model"].get<std::string>(), result["batch_size"].get<int>(),
      result["precision"].get<std::string>(),
      result["device"].get<std::string>(),
      result["copy_bytes_per_second"].get<double>() / kGiga,
      result["flop_per_second"].get<double>() / kTera,
      result["flop_limit"].get<std::string>(), "per step", "calls", "us",
      "GFLOP", "GB", "TFLOP/s", "GB/s", "limit");
  double seconds = 0, limit = 0;
  for (const ordered_json& kernel : result["kernels"]) {
    const double time = kernel["seconds"], flop = kernel["flop"];
    const double bytes = kernel["bytes"], least = kernel["limit_seconds"];
    fmt::print(
        "{:<22} {:>5} {:>9.1f} {:>9.2f} {:>8.3f} {:>8.2f} {:>8.0f} "
        "{:>4.0f} %\n",
        kernel["name"].get<std::string>(), kernel["calls"].get<double>(),
        time / kMicro, flop / kGiga, bytes / kGiga, flop / time / kTera,
        bytes / time / kGiga, 100 * least / time);
    seconds += time;
    limit += least;
  }
  fmt::print("{:<22} {:>5} {:>9.1f} {:>46.0f} %\n", "all kernels", "",
             seconds / kMicro, 100 * limit / seconds);
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  CLI::App app("Measures the kernels of a training step against their limits.",
               "kernel_perf");
  app.option_defaults()->always_capture_default();
  app.add_option("--model", o.model, "Network, with the CIFAR stem")
      ->check(CLI::IsMember(resnet_names()));
  app.add_option("--device", o.device, "Where to compute")
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}));
  app.add_option("--precision", o.precision,
                 "Of convolutions and linear layers")
      ->check(CLI::IsMember({"auto", "f32", "tf32", "bf16", "f16"}));
  app.add_option("--batch-size", o.batch, "Pictures in a step")
      ->check(CLI::PositiveNumber);
  app.add_option("--steps", o.steps, "Steps to measure")
      ->check(CLI::PositiveNumber);
  app.add_option("--json", o.json, "File for the figures");
  CLI11_PARSE(app, argc, argv);
  try {
    const ComputeOptions compute = compute_options(o.device, o.precision);
    if (compute.device == Device::kCuda) {
      cuda::library().set_allow_tf32(compute.tf32);
    }
    const ordered_json result = measure(o, compute);
    print(result);
    if (o.json.empty()) return 0;
    std::ofstream file(o.json);
    if (!(file << result.dump(1) << std::endl)) {
      throw Error(o.json + ": cannot write");
    }
    return 0;
  } catch (const std::exception& error) {
    fmt::print(stderr, "kernel_perf: {}\n", error.what());
    return 1;
  }
}
