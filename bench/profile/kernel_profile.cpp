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

double flops_of(const LinearShape& s) {
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

  void forward(const ConvShape& shape, Layout layout, const float* x,
               const float* weight, const float* bias, float* y) override {
    table.time(kConvForward, flops_of(shape),
               [&] { real.forward(shape, layout, x, weight, bias, y); });
  }
  void backward_data(const ConvShape& shape, Layout layout, const float* dy,
                     const float* weight, float* dx) override {
    table.time(kConvBackwardData, flops_of(shape),
               [&] { real.backward_data(shape, layout, dy, weight, dx); });
  }
  void backward_weights(const ConvShape& shape, Layout layout, const float* x,
                        const float* dy, float* dweight,
                        float* dbias) override {
    table.time(kConvBackwardWeights, flops_of(shape), [&] {
      real.backward_weights(shape, layout, x, dy, dweight, dbias);
    });
  }
};

struct TimedNorm final : Timed<NormKernels> {
  using Timed::Timed;

  void batch_statistics(const ActivationShape& shape, Layout layout,
                        const float* x, float* mean, float* var) override {
    table.time(kBatchStatistics, 0,
               [&] { real.batch_statistics(shape, layout, x, mean, var); });
  }
  void apply(const BatchNormForward& args, const float* mean,
             const float* inv_std) override {
    table.time(kBatchApply, 0, [&] { real.apply(args, mean, inv_std); });
  }
  void backward(const BatchNormBackward& args) override {
    table.time(kBatchBackward, 0, [&] { real.backward(args); });
  }
};

struct TimedPool final : Timed<PoolKernels> {
  using Timed::Timed;

  void max_forward(const MaxPoolShape& shape, Layout layout, const float* x,
                   float* y, std::uint8_t* winner) override {
    table.time(kPool, 0,
               [&] { real.max_forward(shape, layout, x, y, winner); });
  }
  void max_backward(const MaxPoolShape& shape, Layout layout, const float* dy,
                    const std::uint8_t* winner, float* dx) override {
    table.time(kPool, 0,
               [&] { real.max_backward(shape, layout, dy, winner, dx); });
  }
  void average_forward(const ActivationShape& shape, Layout layout,
                       const float* x, float* y) override {
    table.time(kPool, 0, [&] { real.average_forward(shape, layout, x, y); });
  }
  void average_backward(const ActivationShape& shape, Layout layout,
                        const float* dy, float* dx) override {
    table.time(kPool, 0, [&] { real.average_backward(shape, layout, dy, dx); });
  }
};

struct TimedLinear final : Timed<LinearKernels> {
  using Timed::Timed;

  void forward(const LinearShape& shape, const float* x, const float* weight,
               const float* bias, float* y) override {
    table.time(kLinear, flops_of(shape),
               [&] { real.forward(shape, x, weight, bias, y); });
  }
  void backward_data(const LinearShape& shape, const float* dy,
                     const float* weight, float* dx) override {
    table.time(kLinear, flops_of(shape),
               [&] { real.backward_data(shape, dy, weight, dx); });
  }
  void backward_weights(const LinearShape& shape, const float* x,
                        const float* dy, float* dweight,
                        float* dbias) override {
    table.time(kLinear, flops_of(shape),
               [&] { real.backward_weights(shape, x, dy, dweight, dbias); });
  }
};

struct TimedLoss final : Timed<LossKernels> {
  using Timed::Timed;

  CrossEntropyResult cross_entropy(const CrossEntropyArgs& args,
                                   float* dlogits) override {
    return table.time(kLoss, 0,
                      [&] { return real.cross_entropy(args, dlogits); });
  }
};

struct TimedElementwise final : Timed<ElementwiseKernels> {
  using Timed::Timed;

  void relu(std::size_t count, const float* x, float* y) override {
    table.time(kElementwise, 0, [&] { real.relu(count, x, y); });
  }
  void relu_backward(std::size_t count, const float* y, const float* dy,
                     float* dx) override {
    table.time(kElementwise, 0, [&] { real.relu_backward(count, y, dy, dx); });
  }
  void add(std::size_t count, const float* a, const float* b,
           float* y) override {
    table.time(kElementwise, 0, [&] { real.add(count, a, b, y); });
  }
  void reorder(const ActivationShape& shape, Layout from, const float* x,
               Layout to, float* y) override {
    table.time(kElementwise, 0, [&] { real.reorder(shape, from, x, to, y); });
  }
};

struct TimedOptim final : Timed<OptimKernels> {
  using Timed::Timed;

  void sgd(const SgdArgs& args) override {
    table.time(kOptimizer, 0, [&] { real.sgd(args); });
  }
  bool all_finite(std::size_t count, const float* values) override {
    return table.time(kFiniteCheck, 0,
                      [&] { return real.all_finite(count, values); });
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
