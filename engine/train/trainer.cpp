#include "engine/train/trainer.h"

#include <fmt/format.h>

#include <array>
#include <cmath>

#include "engine/autograd/ops.h"
#include "engine/metrics/meter.h"
#include "engine/parallel/agreement.h"

namespace ringlet {
namespace {

constexpr std::size_t kBytesPerMb = 1 << 20;

DataParallelOptions bucket_options(const TrainOptions& options) {
  DataParallelOptions result;
  result.bucket_bytes = static_cast<std::size_t>(
      options.bucket_mb * static_cast<double>(kBytesPerMb));
  return result;
}

SgdOptions sgd_options(const TrainOptions& options) {
  return {.momentum = static_cast<float>(options.momentum),
          .nesterov = options.nesterov,
          .weight_decay = static_cast<float>(options.weight_decay),
          .no_decay_bn_bias = options.no_decay_bn_bias};
}

}  // namespace

Trainer::Trainer(const TrainOptions& options, const TrainPlan& plan,
                 Module& model, const Dataset& data, Communicator& communicator)
    : options_(options),
      plan_(plan),
      model_(model),
      data_(data),
      communicator_(communicator),
      parallel_(model, communicator, bucket_options(options)),
      sgd_(parallel_.arena(), sgd_options(options)) {}

void Trainer::run(const TrainObserver& observer) {
  DataLoader loader(
      data_.train,
      DistributedSampler(
          {.count = data_.train.count(),
           .global_batch = plan_.global_batch,
           .seed = options_.seed,
           .rank = static_cast<std::size_t>(communicator_.rank()),
           .world_size = static_cast<std::size_t>(communicator_.size())}),
      {.augment = options_.augment,
       .seed = options_.seed,
       .workers = options_.workers});
  model_.train();
  for (std::size_t epoch = 1; steps_done_ < plan_.total_steps; ++epoch) {
    Meter loss, accuracy;
    const Stopwatch stopwatch;
    loader.start(static_cast<std::uint32_t>(epoch - 1));
    while (steps_done_ < plan_.total_steps) {
      StepTimer timer;
      const std::optional<Batch> batch = loader.next();
      if (!batch) break;
      timer.lap(Phase::kData);
      StepResult result = step(*batch, timer);
      result.epoch = epoch;
      const auto images = static_cast<double>(result.images);
      loss.add(result.loss, images);
      accuracy.add(static_cast<double>(result.correct) / images, images);
      observer.step(result);
    }
    EpochResult result{
        epoch, loss.mean(), accuracy.mean(), stopwatch.seconds(), {}};
    const bool last = steps_done_ == plan_.total_steps;
    if (last || epoch % options_.eval_every == 0) {
      parallel_.broadcast_buffers();
      result.validation =
          evaluate(model_, data_.test, communicator_, [&](std::size_t done) {
            observer.evaluating(done, data_.test.count());
          });
    }
    observer.epoch(result);
  }
}

StepResult Trainer::step(const Batch& batch, StepTimer timer) {
  const double lr = learning_rate(plan_.schedule, steps_done_);
  // What the ranks' parts of the batch add up to: loss, right answers.
  std::array<double, 2> sums{};
  parallel_.start_step();
  if (batch.labels.count() > 0) {
    const Variable logits = model_.forward(Variable(batch.images));
    const CrossEntropyOutput out = cross_entropy(
        logits, batch.labels,
        {.label_smoothing = static_cast<float>(options_.label_smoothing),
         .global_batch = batch.global_count});
    timer.lap(Phase::kForward);
    backward(out.loss);
    sums = {out.loss_value, static_cast<double>(out.correct)};
  } else {
    parallel_.backward_nothing();
  }
  timer.lap(Phase::kBackward);
  parallel_.finalize();
  communicator_.all_reduce(sums.data(), sums.size(), Dtype::kF64,
                           ReduceOp::kSum);
  timer.lap(Phase::kCommunication);
  sgd_.step(static_cast<float>(lr));
  timer.lap(Phase::kOptimizer);

  ++steps_done_;
  if (!std::isfinite(sums[0])) {
    throw SharedError(fmt::format(
        "the loss is {} in step {}: the training has diverged; a smaller --lr "
        "(now {}) or some --warmup-epochs may help",
        std::fabs(sums[0]), steps_done_, plan_.schedule.base_lr));
  }
  return {.step = steps_done_,
          .epoch = 0,
          .loss = sums[0],
          .lr = lr,
          .images = batch.global_count,
          .correct = static_cast<std::size_t>(sums[1]),
          .time = timer};
}

}  // namespace ringlet
