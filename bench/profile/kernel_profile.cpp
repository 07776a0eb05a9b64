#include "bench/profile/kernel_profile.h"

#include "engine/metrics/stopwatch.h"

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
                                          "finite check"};

struct Table {
  Entry entries[kKernels];

  template <typename Call>
  auto time(Kernel kernel, double flops, Call call) {
    struct Timer {
      Entry& entry;
      Stopwatch stopwatch;
      ~Timer() { entry.seconds += stopwatch.seconds(); }
    };
    Entry& entry = entries[kernel];
    ++entry.calls;
    entry.flops += flops;
    const Timer timer{entry, {}};
    return call();
  }
};

double flops_of(const ConvShape& s) {
  return 2.0 * static_cast<double>(s.n * s.out_h() * s.out_w()) *
         static_cast<double>(s.weight_count());
}

double flops_of(const LinearArgs& s) {
  return 2.0 * static_cast<double>(s.n * s.in * s.out);
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
    table.time(kConvForward, flops_of(args.shape),
               [&] { real.forward(args, x, weight, bias, y); });
  }
  void backward_data(const ConvArgs& args, const void* dy, const void* weight,
                     void* dx) override {
    table.time(kConvBackwardData, flops_of(args.shape),
               [&] { real.backward_data(args, dy, weight, dx); });
  }
  void backward_weights(const ConvArgs& args, const void* x, const void* dy,
                        float* dweight, float* dbias) override {
    table.time(kConvBackwardWeights, flops_of(args.shape),
               [&] { real.backward_weights(args, x, dy, dweight, dbias); });
  }
};

struct TimedNorm final : Timed<NormKernels> {
  using Timed::Timed;

  void statistics(const BatchNormStatistics& args) override {
    table.time(kBatchStatistics, 0, [&] { real.statistics(args); });
  }
  void inverse_std(std::size_t count, const float* var, float eps,
                   float* inv_std) override {
    table.time(kBatchStatistics, 0,
               [&] { real.inverse_std(count, var, eps, inv_std); });
  }
  std::size_t mask_bytes(const Activation& shape,
                         bool has_residual) const override {
    return real.mask_bytes(shape, has_residual);
  }
  void apply(const BatchNormForward& args) override {
    table.time(kBatchApply, 0, [&] { real.apply(args); });
  }
  void backward(const BatchNormBackward& args) override {
    table.time(kBatchBackward, 0, [&] { real.backward(args); });
  }
};

struct TimedPool final : Timed<PoolKernels> {
  using Timed::Timed;

  void max_forward(const MaxPoolShape& shape, const void* x, void* y,
                   std::uint8_t* winner) override {
    table.time(kPool, 0, [&] { real.max_forward(shape, x, y, winner); });
  }
  void max_backward(const MaxPoolShape& shape, const void* dy,
                    const std::uint8_t* winner, void* dx) override {
    table.time(kPool, 0, [&] { real.max_backward(shape, dy, winner, dx); });
  }
  void average_forward(const Activation& shape, const void* x,
                       void* y) override {
    table.time(kPool, 0, [&] { real.average_forward(shape, x, y); });
  }
  void average_backward(const Activation& shape, const void* dy,
                        void* dx) override {
    table.time(kPool, 0, [&] { real.average_backward(shape, dy, dx); });
  }
};

struct TimedLinear final : Timed<LinearKernels> {
  using Timed::Timed;

  void forward(const LinearArgs& args, const void* x, const void* weight,
               const float* bias, void* y) override {
    table.time(kLinear, flops_of(args),
               [&] { real.forward(args, x, weight, bias, y); });
  }
  void backward_data(const LinearArgs& args, const void* dy, const void* weight,
                     void* dx) override {
    table.time(kLinear, flops_of(args),
               [&] { real.backward_data(args, dy, weight, dx); });
  }
  void backward_weights(const LinearArgs& args, const void* x, const void* dy,
                        float* dweight, float* dbias) override {
    table.time(kLinear, flops_of(args),
               [&] { real.backward_weights(args, x, dy, dweight, dbias); });
  }
};

struct TimedLoss final : Timed<LossKernels> {
  using Timed::Timed;

  void cross_entropy(const CrossEntropyArgs& args) override {
    table.time(kLoss, 0, [&] { real.cross_entropy(args); });
  }
};

struct TimedElementwise final : Timed<ElementwiseKernels> {
  using Timed::Timed;

  void relu(std::size_t count, Dtype dtype, const void* x, void* y) override {
    table.time(kElementwise, 0, [&] { real.relu(count, dtype, x, y); });
  }
  void relu_backward(std::size_t count, Dtype dtype, const void* y,
                     const void* dy, void* dx) override {
    table.time(kElementwise, 0,
               [&] { real.relu_backward(count, dtype, y, dy, dx); });
  }
  void add(std::size_t count, Dtype dtype, const void* a, const void* b,
           void* y) override {
    table.time(kElementwise, 0, [&] { real.add(count, dtype, a, b, y); });
  }
  void reorder(const Activation& from, const void* x, Layout layout,
               Dtype dtype, void* y) override {
    table.time(kElementwise, 0,
               [&] { real.reorder(from, x, layout, dtype, y); });
  }
};

struct TimedOptim final : Timed<OptimKernels> {
  using Timed::Timed;

  void sgd(const SgdArgs& args) override {
    table.time(kOptimizer, 0, [&] { real.sgd(args); });
  }
  void squared_norm(std::size_t count, const float* values,
                    double* result) override {
    table.time(kFiniteCheck, 0,
               [&] { real.squared_norm(count, values, result); });
  }
};

}  // namespace

struct KernelProfile::Families {
  Backend& real = backend();
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

KernelProfile::KernelProfile() : families_(std::make_unique<Families>()) {
  reset();
  replace_backend(&families_->timed);
}

KernelProfile::~KernelProfile() { replace_backend(nullptr); }

std::vector<Entry> KernelProfile::entries() const {
  std::vector<Entry> called;
  for (const Entry& entry : families_->table.entries) {
    if (entry.calls > 0) called.push_back(entry);
  }
  return called;
}

void KernelProfile::reset() {
  for (std::size_t i = 0; i < kKernels; ++i) {
    families_->table.entries[i] = {.name = kNames[i]};
  }
}

}  // namespace ringlet
