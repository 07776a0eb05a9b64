// What a training does between its epochs.
#include "collectives/recorder.h"
#include "engine/metrics/process_usage.h"
#include "engine/train/trainer.h"

namespace ringlet {
namespace {

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

EvaluationResult Trainer::validate(const TrainObserver& observer) {
  parallel_.broadcast_buffers();
  if (average_) {
    average_->swap();
    parallel_.broadcast_buffers();
  }
  const EvaluationResult result = evaluate(
      model_, data_.test, communicator_, compute_,
      options_.virtual_ranks > 0 ? plan_.shards : 1,
      [&](std::size_t done) { observer.evaluating(done, data_.test.count()); });
  if (average_) average_->swap();
  return result;
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
    const Activity activity(communicator_, EventKind::kEvaluation,
                            position_.steps_done);
    result.validation = validate(observer);
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

}  // namespace ringlet
