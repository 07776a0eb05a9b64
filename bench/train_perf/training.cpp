#include "bench/train_perf/training.h"

#include <cmath>

#include "engine/autograd/ops.h"
#include "engine/metrics/process_usage.h"
#include "kernels/runtime/error.h"
#include "kernels/runtime/philox.h"

namespace ringlet {
namespace {

constexpr std::size_t kClasses = 10;
constexpr std::int64_t kPixels = 32;  // both ways, as in CIFAR-10
constexpr float kRate = 1e-3f;

}  // namespace

Samples::Samples(std::size_t batch, const Communicator& ranks)
    : global_count(batch) {
  const auto n =
      static_cast<std::int64_t>(batch / static_cast<std::size_t>(ranks.size()));
  images = Tensor({n, 3, kPixels, kPixels});
  labels = Tensor({n}, Dtype::kI32);
  PhiloxStream random(1, RandomPurpose::kSyntheticData, 0,
                      static_cast<std::uint32_t>(ranks.rank()));
  for (std::size_t i = 0; i < images.count(); ++i) {
    images.data()[i] = 2 * random.uniform() - 1;
  }
  for (std::size_t i = 0; i < labels.count(); ++i) {
    labels.data<std::int32_t>()[i] =
        static_cast<std::int32_t>(random.below(kClasses));
  }
}

Training::Training(const TrainPerfOptions& options, Communicator& communicator)
    : samples_(options.batch, communicator),
      model_(make_resnet(options.model, {.classes = kClasses})),
      parallel_((model_->initialize(1), *model_), communicator),
      sgd_(parallel_.arena(), {.momentum = 0.9f, .weight_decay = 5e-4f}) {
  model_->train();
}

Step Training::step() {
  const long faults = process_usage().page_faults;
  const AllocationCounts before = allocation_counts();
  StepTimer timer;
  parallel_.start_step();
  const Variable logits = model_->forward(Variable(samples_.images));
  const CrossEntropyOutput out = cross_entropy(
      logits, samples_.labels, {.global_batch = samples_.global_count});
  timer.lap(StepPhase::kForward);
  backward(out.loss);
  timer.lap(StepPhase::kBackward);
  parallel_.finalize();
  timer.lap(StepPhase::kCommunication);
  if (!std::isfinite(parallel_.sum_squares().item())) {
    throw Error("a gradient is not finite");
  }
  sgd_.step(kRate);
  timer.lap(StepPhase::kOptimizer);
  const AllocationCounts after = allocation_counts();
  return {timer,
          process_usage().page_faults - faults,
          {after.bytes - before.bytes, after.calls - before.calls,
           after.large_calls - before.large_calls}};
}

}  // namespace ringlet
