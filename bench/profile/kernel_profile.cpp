#include "bench/profile/kernel_profile.h"

#include <deque>
#include <utility>

#include "engine/metrics/stopwatch.h"
#include "kernels/runtime/cuda_library.h"

namespace ringlet {
namespace {

using Entry = KernelProfile::Entry;

enum Kernel {
  kConvForward,
  kConvBackwardData,
  kConvBackwardWeights,
  kBatchStatistics,
  kBatchApply,
  kBatchBackward,
  kPool,
  kLinear,
  kLoss,
  kElementwise,
  kOptimizer,
  kFiniteCheck,
  kHash,
  kKernels
};

constexpr const char* kNames[kKernels] = {"conv forward",
                                          "conv backward data",
                                          "conv backward weights",
                                          "norm statistics",
                                          "norm apply",
                                          "norm backward",
                                          "pool",
                                          "linear",
                                          "loss",
                                          "elementwise",
                                          "optimizer",
                                          "finite check",
                                          "hash"};

struct Cost {
  double flops, bytes;
};

// Times a call on the device where it runs.
class CallTimer {
 public:
  explicit CallTimer(Device device)
      : gpu_(device == Device::kCuda ? cuda::library().make_timer() : nullptr) {
  }

  void start() {
    if (gpu_) return gpu_->start();
    stopwatch_ = Stopwatch();
  }
  void stop() {
    if (gpu_) return gpu_->stop();
    seconds_ = stopwatch_.seconds();
  }
  double seconds() { return gpu_ ? gpu_->seconds() : seconds_; }

 private:
  std::unique_ptr<cuda::Timer> gpu_;  // null on the CPU
  Stopwatch stopwatch_;
  double seconds_ = 0;
};

struct Table {
  explicit Table(Device on) : device(on) {}

  template <typename Call>
  void time(Kernel kernel, Cost cost, Call call) {
    Entry& entry = entries[kernel];
    ++entry.calls;
    entry.flops += cost.flops;
    entry.bytes += cost.bytes;
    if (used == timers.size()) timers.emplace_back(kernel, device);
    auto& [of, timer] = timers[used++];
    of = kernel;
    timer.start();
    call();
    timer.stop();
    // What a GPU does is asked for later, so that nothing waits for it.
    if (device == Device::kCpu) collect();
  }

  void collect() {
    for (std::size_t i = 0; i < used; ++i) {
      entries[timers[i].first].seconds += timers[i].second.seconds();
    }
    used = 0;
  }

  Device device;
  Entry entries[kKernels];
  std::deque<std::pair<Kernel, CallTimer>> timers;
  std::size_t used = 0;  // that are not collected yet
};

double bytes_of(std::size_t count, Dtype dtype) {
  return static_cast<double>(count * size_of(dtype));
}

double bytes_of(const Activation& shape) {
  return bytes_of(shape.storage_count(), shape.dtype);
}

// Each array once. The gradient of the weights is f32.
Cost cost_of(const ConvArgs& args, Dtype weight_dtype) {
  const ConvShape& s = args.shape;
  const std::size_t y = s.n * s.out_h() * s.out_w() * s.k;
  return {2.0 * static_cast<double>(y / s.k) *
              static_cast<double>(s.weight_count()),
          bytes_of(s.n * s.c * s.h * s.w + y, args.dtype) +
              bytes_of(s.weight_count(), weight_dtype)};
}

Cost cost_of(const LinearArgs& s, Dtype weight_dtype) {
  return {2.0 * static_cast<double>(s.n * s.in * s.out),
          bytes_of(s.n * (s.in + s.out), s.dtype) +
              bytes_of(s.in * s.out, weight_dtype)};
}

template <typename Kernels>
struct Timed : Kernels {
  Kernels& real;
  Table& table;
  Timed(Kernels& kernels, Table& entries) : real(kernels), table(entries) {}
};

struct TimedConv final : Timed<ConvKernels> {
  using Timed::Timed;

  void forward(const ConvArgs& args, const void* x, const void* weight,
               const float* bias, void* y) override {
    table.time(kConvForward, cost_of(args, args.dtype),
               [&] { real.forward(args, x, weight, bias, y); });
  }
  void backward_data(const ConvArgs& args, const void* dy, const void* weight,
                     void* dx) override {
    table.time(kConvBackwardData, cost_of(args, args.dtype),
               [&] { real.backward_data(args, dy, weight, dx); });
  }
  void backward_weights(const ConvArgs& args, const void* x, const void* dy,
                        float* dweight, float* dbias) override {
    table.time(kConvBackwardWeights, cost_of(args, Dtype::kF32),
               [&] { real.backward_weights(args, x, dy, dweight, dbias); });
  }
};

// Passes are those that norm.h promises.
struct TimedNorm final : Timed<NormKernels> {
  using Timed::Timed;

  void statistics(const BatchNormStatistics& args) override {
    table.time(kBatchStatistics, {0, bytes_of(args.shape)},
               [&] { real.statistics(args); });
  }
  void sums(const Activation& shape, const void* x, double* sums) override {
    table.time(kBatchStatistics, {0, bytes_of(shape)},
               [&] { real.sums(shape, x, sums); });
  }
  void statistics_of(const BatchNormStatistics& args,
                     const double* sums) override {
    real.statistics_of(args, sums);
  }
  void inverse_std(std::size_t count, const float* var, float eps,
                   float* inv_std) override {
    table.time(kBatchStatistics, {0, 2 * bytes_of(count, Dtype::kF32)},
               [&] { real.inverse_std(count, var, eps, inv_std); });
  }
  std::size_t mask_bytes(const Activation& shape,
                         bool has_residual) const override {
    return real.mask_bytes(shape, has_residual);
  }
  void apply(const BatchNormForward& args) override {
    const bool residual = args.residual != nullptr;
    const double bytes = (residual ? 3 : 2) * bytes_of(args.shape) +
                         mask_of(args.shape, args.mask, residual);
    table.time(kBatchApply, {0, bytes}, [&] { real.apply(args); });
  }
  void gradient_sums(const BatchNormBackward& args, double* sums) override {
    table.time(kBatchBackward,
               {0, 2 * bytes_of(args.shape) +
                       mask_of(args.shape, args.mask, args.dresidual)},
               [&] { real.gradient_sums(args, sums); });
  }
  void backward(const BatchNormBackward& args) override {
    const bool residual = args.dresidual != nullptr;
    const double bytes = (residual ? 6 : 5) * bytes_of(args.shape) +
                         2 * mask_of(args.shape, args.mask, residual);
    table.time(kBatchBackward, {0, bytes}, [&] { real.backward(args); });
  }

 private:
  double mask_of(const Activation& shape, const std::uint8_t* mask,
                 bool residual) const {
    if (mask == nullptr) return 0;
    return static_cast<double>(real.mask_bytes(shape, residual));
  }
};

struct TimedPool final : Timed<PoolKernels> {
  using Timed::Timed;

  void max_forward(const MaxPoolShape& shape, const void* x, void* y,
                   std::uint8_t* winner) override {
    table.time(kPool, cost_of_max(shape),
               [&] { real.max_forward(shape, x, y, winner); });
  }
  void max_backward(const MaxPoolShape& shape, const void* dy,
                    const std::uint8_t* winner, void* dx) override {
    table.time(kPool, cost_of_max(shape),
               [&] { real.max_backward(shape, dy, winner, dx); });
  }
  void average_forward(const Activation& shape, const void* x,
                       void* y) override {
    table.time(kPool, cost_of_average(shape),
               [&] { real.average_forward(shape, x, y); });
  }
  void average_backward(const Activation& shape, const void* dy,
                        void* dx) override {
    table.time(kPool, cost_of_average(shape),
               [&] { real.average_backward(shape, dy, dx); });
  }

 private:
  static Cost cost_of_max(const MaxPoolShape& shape) {
    const double winners = bytes_of(shape.y().storage_count(), Dtype::kU8);
    return {0, bytes_of(shape.x) + bytes_of(shape.y()) + winners};
  }
  static Cost cost_of_average(const Activation& shape) {
    return {0, bytes_of(shape) + bytes_of(shape.n * shape.c, shape.dtype)};
  }
};

struct TimedLinear final : Timed<LinearKernels> {
  using Timed::Timed;

  void forward(const LinearArgs& args, const void* x, const void* weight,
               const float* bias, void* y) override {
    table.time(kLinear, cost_of(args, args.dtype),
               [&] { real.forward(args, x, weight, bias, y); });
  }
  void backward_data(const LinearArgs& args, const void* dy, const void* weight,
                     void* dx) override {
    table.time(kLinear, cost_of(args, args.dtype),
               [&] { real.backward_data(args, dy, weight, dx); });
  }
  void backward_weights(const LinearArgs& args, const void* x, const void* dy,
                        float* dweight, float* dbias) override {
    table.time(kLinear, cost_of(args, Dtype::kF32),
               [&] { real.backward_weights(args, x, dy, dweight, dbias); });
  }
};

struct TimedLoss final : Timed<LossKernels> {
  using Timed::Timed;

  void cross_entropy(const CrossEntropyArgs& args) override {
    const double logits = bytes_of(args.n * args.classes, args.dtype);
    table.time(kLoss, {0, 2 * logits}, [&] { real.cross_entropy(args); });
  }
};

struct TimedElementwise final : Timed<ElementwiseKernels> {
  using Timed::Timed;

  void relu(std::size_t count, Dtype dtype, const void* x, void* y) override {
    table.time(kElementwise, {0, 2 * bytes_of(count, dtype)},
               [&] { real.relu(count, dtype, x, y); });
  }
  void relu_backward(std::size_t count, Dtype dtype, const void* y,
                     const void* dy, void* dx) override {
    table.time(kElementwise, {0, 3 * bytes_of(count, dtype)},
               [&] { real.relu_backward(count, dtype, y, dy, dx); });
  }
  void add(std::size_t count, Dtype dtype, const void* a, const void* b,
           void* y) override {
    table.time(kElementwise, {0, 3 * bytes_of(count, dtype)},
               [&] { real.add(count, dtype, a, b, y); });
  }
  void reorder(const Activation& from, const void* x, Layout layout,
               Dtype dtype, void* y) override {
    Activation to = from;
    to.layout = layout;
    to.dtype = dtype;
    table.time(kElementwise, {0, bytes_of(from) + bytes_of(to)},
               [&] { real.reorder(from, x, layout, dtype, y); });
  }
};

struct TimedOptim final : Timed<OptimKernels> {
  using Timed::Timed;

  void sgd(const SgdArgs& args) override {
    const double half =
        args.half_copy != nullptr ? bytes_of(args.count, args.half_dtype) : 0;
    table.time(kOptimizer, {0, 5 * bytes_of(args.count, Dtype::kF32) + half},
               [&] { real.sgd(args); });
  }
  void squared_norm(std::size_t count, const float* values,
                    double* result) override {
    table.time(kFiniteCheck, {0, bytes_of(count, Dtype::kF32)},
               [&] { real.squared_norm(count, values, result); });
  }
  void lars(const LarsArgs& args) override {
    table.time(kOptimizer, {0, 0}, [&] { real.lars(args); });
  }
  void ema(const EmaArgs& args) override {
    table.time(kOptimizer, {0, 3 * bytes_of(args.count, Dtype::kF32)},
               [&] { real.ema(args); });
  }
  void hash(const HashArgs& args) override {
    table.time(kHash, {0, 0}, [&] { real.hash(args); });
  }
};

}  // namespace

struct KernelProfile::Families {
  explicit Families(Device device) : real(backend(device)), table(device) {}

  Backend& real;
  Table table;
  TimedConv conv{real.conv, table};
  TimedNorm norm{real.norm, table};
  TimedPool pool{real.pool, table};
  TimedLinear linear{real.linear, table};
  TimedLoss loss{real.loss, table};
  TimedElementwise elementwise{real.elementwise, table};
  TimedOptim optim{real.optim, table};
  Backend timed{real.activation_layout,
                real.weight_layout,
                conv,
                norm,
                pool,
                linear,
                loss,
                elementwise,
                optim};
};

KernelProfile::KernelProfile(Device device)
    : families_(std::make_unique<Families>(device)) {
  reset();
  replace_backend(&families_->timed, device);
}

KernelProfile::~KernelProfile() {
  replace_backend(nullptr, families_->table.device);
}

std::vector<Entry> KernelProfile::entries() {
  families_->table.collect();
  std::vector<Entry> called;
  for (const Entry& entry : families_->table.entries) {
    if (entry.calls > 0) called.push_back(entry);
  }
  return called;
}

void KernelProfile::reset() {
  families_->table.collect();
  for (std::size_t i = 0; i < kKernels; ++i) {
    families_->table.entries[i] = {.name = kNames[i]};
  }
}

}  // namespace ringlet
