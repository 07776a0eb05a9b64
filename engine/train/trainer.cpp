#include "engine/train/trainer.h"

#include <fmt/format.h>

#include <array>
#include <cmath>

#include "collectives/recorder.h"
#include "engine/autograd/ops.h"
#include "engine/metrics/meter.h"
#include "engine/metrics/process_usage.h"
#include "engine/parallel/agreement.h"
#include "kernels/runtime/check.h"

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

// What the communicator does meanwhile is of this step.
class StepMark {
 public:
  StepMark(Communicator& communicator, std::size_t step)
      : communicator_(communicator) {
    mark(static_cast<std::int64_t>(step));
  }
  ~StepMark() { mark(kNone); }
  StepMark(const StepMark&) = delete;
  StepMark& operator=(const StepMark&) = delete;

 private:
  void mark(std::int64_t step) { communicator_.set_training_step(step); }

  Communicator& communicator_;
};

std::vector<RankUsage> usage_of_ranks(Communicator& communicator) {
  std::vector<RankUsage> ranks(static_cast<std::size_t>(communicator.size()));
  const ProcessUsage mine = process_usage();
  ranks[static_cast<std::size_t>(communicator.rank())] = {mine.peak_memory_mib,
                                                          mine.cpu_seconds};
  static_assert(sizeof(RankUsage) == 2 * sizeof(double));
  communicator.all_reduce(ranks.data(), 2 * ranks.size(), Dtype::kF64,
                          ReduceOp::kSum);
  return ranks;
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
      sgd_(parallel_.arena(), sgd_options(options)),
      buffers_(model.named_buffers()) {
  for (const auto& [name, buffer] : buffers_) {
    buffers_before_.push_back(buffer.clone());
  }
}

bool Trainer::run(const TrainObserver& observer, TrainRequests& requests) {
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
  while (position_.steps_done < plan_.total_steps) {
    if (!run_epoch(loader, observer, requests)) return false;
  }
  return true;
}

bool Trainer::run_epoch(DataLoader& loader, const TrainObserver& observer,
                        TrainRequests& requests) {
  const std::size_t epoch = position_.steps_done / plan_.steps_per_epoch;
  const std::size_t first = position_.steps_done % plan_.steps_per_epoch;
  loader.start(static_cast<std::uint32_t>(epoch), first);
  for (bool ended = false; !ended;) {
    StepTimer timer;
    const std::optional<Batch> batch = loader.next();
    RINGLET_CHECK(batch, "epoch {} has no step {}", epoch + 1,
                  position_.steps_done + 1);
    timer.lap(StepPhase::kData);
    const StepResult result = [&] {
      const StepMark mark(communicator_, position_.steps_done + 1);
      return step(*batch, timer, requests);
    }();
    observer.step(result);
    ended = position_.steps_done % plan_.steps_per_epoch == 0 ||
            position_.steps_done == plan_.total_steps;
    const std::optional<double> accuracy =
        ended ? end_epoch(epoch + 1, observer) : std::nullopt;
    if (checkpoint_is_due()) observer.checkpoint(position_, accuracy);
    if (stop_asked_) return position_.steps_done == plan_.total_steps;
  }
  return true;
}

// The validation accuracy, where one was due.
std::optional<double> Trainer::end_epoch(std::size_t epoch,
                                         const TrainObserver& observer) {
  EpochResult result{epoch,
                     position_.loss.mean(),
                     position_.accuracy.mean(),
                     position_.epoch_seconds,
                     {},
                     {}};
  const bool last = position_.steps_done == plan_.total_steps;
  if (last || epoch % options_.eval_every == 0) {
    parallel_.broadcast_buffers();
    result.validation =
        evaluate(model_, data_.test, communicator_, [&](std::size_t done) {
          observer.evaluating(done, data_.test.count());
        });
  }
  result.usage = usage_of_ranks(communicator_);
  observer.epoch(result);
  // A run that ended inside an epoch may be continued there.
  if (position_.steps_done % plan_.steps_per_epoch == 0) {
    position_.loss = position_.accuracy = Meter();
    position_.epoch_seconds = 0;
  }
  if (!result.validation) return std::nullopt;
  return result.validation->accuracy;
}

bool Trainer::checkpoint_is_due() const {
  const auto every = [](std::size_t done, std::size_t period) {
    return period > 0 && done % period == 0;
  };
  return save_asked_ || stop_asked_ ||
         every(position_.steps_done, options_.checkpoint_steps) ||
         every(position_.steps_done,
               options_.checkpoint_epochs * plan_.steps_per_epoch);
}

StepResult Trainer::step(const Batch& batch, StepTimer timer,
                         TrainRequests& requests) {
  const double lr = learning_rate(plan_.schedule, position_.steps_done);
  // What the ranks' parts of the batch add up to: loss, right answers; and how
  // many ranks were asked to save, and to stop.
  std::array<double, 4> sums{};
  keep_buffers();
  parallel_.start_step();
  if (batch.labels.count() > 0) {
    const Variable logits = model_.forward(Variable(batch.images));
    const CrossEntropyOutput out = cross_entropy(
        logits, batch.labels,
        {.label_smoothing = static_cast<float>(options_.label_smoothing),
         .global_batch = batch.global_count});
    timer.lap(StepPhase::kForward);
    backward(out.loss);
    sums = {out.loss_value, static_cast<double>(out.correct)};
  } else {
    parallel_.backward_nothing();
  }
  timer.lap(StepPhase::kBackward);
  parallel_.finalize();
  sums[2] = requests.save.exchange(false) ? 1 : 0;
  sums[3] = requests.stop ? 1 : 0;
  communicator_.all_reduce(sums.data(), sums.size(), Dtype::kF64,
                           ReduceOp::kSum);
  timer.lap(StepPhase::kCommunication);
  save_asked_ = sums[2] > 0;
  stop_asked_ = sums[3] > 0;
  // All ranks have the same sums, so all come to the same answer.
  const bool finite =
      std::isfinite(sums[0]) && parallel_.gradients_are_finite();
  if (finite) sgd_.step(static_cast<float>(lr));
  timer.lap(StepPhase::kOptimizer);

  const StepResult result{.step = ++position_.steps_done,
                          .epoch = batch.epoch + std::size_t{1},
                          .loss = sums[0],
                          .lr = lr,
                          .images = batch.global_count,
                          .correct = static_cast<std::size_t>(sums[1]),
                          .skipped = !finite,
                          .skipped_so_far = position_.skipped + !finite,
                          .time = timer};
  finite ? count(result) : skip();
  return result;
}

void Trainer::count(const StepResult& result) {
  const auto images = static_cast<double>(result.images);
  position_.loss.add(result.loss, images);
  position_.accuracy.add(static_cast<double>(result.correct) / images, images);
  position_.epoch_seconds += result.time.total();
  position_.skipped_in_a_row = 0;
  parallel_.watch_gradients(false);
}

void Trainer::keep_buffers() {
  for (std::size_t i = 0; i < buffers_.size(); ++i) {
    buffers_before_[i].copy_from(buffers_[i].second);
  }
}

// From the second one in a row on the ranks look at their own gradients too,
// to be able to say where it comes from.
void Trainer::skip() {
  for (std::size_t i = 0; i < buffers_.size(); ++i) {
    buffers_[i].second.copy_from(buffers_before_[i]);
  }
  ++position_.skipped;
  if (++position_.skipped_in_a_row == kMostSkipped) fail_not_finite();
  parallel_.watch_gradients(true);
}

void Trainer::fail_not_finite() {
  const std::vector<std::string> found =
      gather_text(communicator_, parallel_.first_not_finite());
  std::string where = "the sum of the ranks' gradients, all finite themselves";
  for (std::size_t rank = found.size(); rank-- > 0;) {
    if (!found[rank].empty()) {
      where = fmt::format("the gradient of '{}' on rank {}", found[rank], rank);
    }
  }
  throw SharedError(fmt::format(
      "{} steps in a row without a finite loss and gradient, the last of them "
      "step {}; in backward it was first {}: the training has diverged; a "
      "smaller --lr (now {}) or some --warmup-epochs may help",
      kMostSkipped, position_.steps_done, where, plan_.schedule.base_lr));
}

}  // namespace ringlet
