#include "engine/train/trainer.h"

#include <fmt/format.h>

#include <array>
#include <cmath>

#include "collectives/recorder.h"
#include "engine/autograd/ops.h"
#include "engine/metrics/meter.h"
#include "engine/parallel/agreement.h"
#include "kernels/runtime/check.h"

namespace ringlet {
namespace {

constexpr std::size_t kBytesPerMb = 1 << 20;

// Places in what run_shards() gives.
constexpr std::size_t kCorrect = 0, kSave = 1, kStop = 2, kShards = 3;
constexpr std::size_t kOfShard = 2;

Dtype wire_of(const TrainOptions& options) {
  if (options.wire_dtype == "bf16") return Dtype::kBF16;
  return options.wire_dtype == "f16" ? Dtype::kF16 : Dtype::kF32;
}

DataParallelOptions parallel_options(const TrainOptions& options,
                                     const TrainPlan& plan,
                                     const ComputeOptions& compute) {
  DataParallelOptions result{.dtype = compute.dtype,
                             .wire = wire_of(options),
                             .nccl = compute.nccl,
                             .shards = plan.shards,
                             .tree = options.virtual_ranks > 0};
  result.bucket_bytes = static_cast<std::size_t>(
      options.bucket_mb * static_cast<double>(kBytesPerMb));
  result.first_bucket_bytes =
      std::min(result.first_bucket_bytes, result.bucket_bytes);
  return result;
}

std::optional<SynchronisedBatchNorm> synchronised_batch_norm(
    const TrainOptions& options, Module& model, Communicator& communicator) {
  using Result = std::optional<SynchronisedBatchNorm>;
  if (options.batch_norm != "synchronised") return Result();
  return Result(std::in_place, model, communicator);
}

SgdOptions sgd_options(const TrainOptions& options) {
  return {.momentum = static_cast<float>(options.momentum),
          .nesterov = options.nesterov,
          .weight_decay = static_cast<float>(options.weight_decay),
          .no_decay_bn_bias = options.no_decay_bn_bias,
          .trust = options.optimizer == "lars"
                       ? static_cast<float>(options.trust)
                       : 0};
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

}  // namespace

Trainer::Trainer(const TrainOptions& options, const TrainPlan& plan,
                 Module& model, const Dataset& data, Communicator& communicator,
                 const ComputeOptions& compute)
    : options_(options),
      plan_(plan),
      model_(model),
      data_(data),
      communicator_(communicator),
      compute_(compute),
      parallel_(model, communicator, parallel_options(options, plan, compute)),
      buffers_(parallel_.buffers(), parallel_.reducer(),
               {.averaged = options.batch_norm == "averaged",
                .virtual_ranks = options.virtual_ranks > 0 ? plan.shards : 1}),
      batch_norm_(synchronised_batch_norm(options, model, parallel_.reducer())),
      micro_batches_(model, parallel_, buffers_,
                     batch_norm_ ? &*batch_norm_ : nullptr,
                     static_cast<float>(options.label_smoothing)),
      sgd_(parallel_.arena(), sgd_options(options)),
      hashes_(options, plan, data.train, communicator, parallel_) {
  if (options.ema_decay > 0) {
    average_.emplace(parallel_.arena(), parallel_.buffers().floats,
                     options.ema_decay);
  }
  if (compute.dtype != Dtype::kF16) return;
  gradient_scale_ = Tensor({}, Dtype::kF32, Layout::kPlain, compute.device);
  position_.loss_scale.value = LossScale::kFirst;
}

std::vector<std::string> Trainer::parameter_names() const {
  std::vector<std::string> names;
  for (const ParameterArena::Slot& slot : parallel_.arena().slots()) {
    names.push_back(slot.parameter.name());
  }
  return names;
}

std::vector<std::pair<std::string, Tensor>> Trainer::result() const {
  return average_ ? average_->state(model_.state()) : model_.state();
}

void Trainer::resume(const TrainPosition& position) {
  position_ = position;
  // It may have been in another precision until here.
  LossScale& scale = position_.loss_scale;
  if (!gradient_scale_.defined()) {
    scale = {};
  } else if (scale.value == 1) {
    scale.value = LossScale::kFirst;
  }
  parallel_.arena().update_half_copy();
  parallel_.watch_gradients(position.skipped_in_a_row > 0);
}

bool Trainer::run(const TrainObserver& observer, TrainRequests& requests) {
  const auto loader = make_loader(
      data_.train,
      DistributedSampler(
          {.count = data_.train.count(),
           .global_batch = plan_.global_batch,
           .seed = options_.seed,
           .rank = static_cast<std::size_t>(communicator_.rank()),
           .world_size = static_cast<std::size_t>(communicator_.size()),
           .shards = plan_.shards}),
      {.augment = {.crop = options_.augment,
                   .cutout = static_cast<std::int32_t>(options_.cutout)},
       .mixup = options_.mixup,
       .seed = options_.seed,
       .workers = options_.workers,
       .device = compute_.device,
       .dtype = compute_.dtype});
  // They are for this loader.
  recorded_ = nullptr;
  model_.train();
  while (position_.steps_done < plan_.total_steps) {
    if (!run_epoch(*loader, observer, requests)) return false;
  }
  return true;
}

bool Trainer::run_epoch(BatchSource& loader, const TrainObserver& observer,
                        TrainRequests& requests) {
  const std::size_t epoch = position_.steps_done / plan_.steps_per_epoch;
  const std::size_t first = position_.steps_done % plan_.steps_per_epoch;
  loader.start(static_cast<std::uint32_t>(epoch), first);
  for (bool ended = false; !ended;) {
    for (const StepResult& result : steps(loader, requests)) {
      observer.step(result);
    }
    ended = position_.steps_done % plan_.steps_per_epoch == 0 ||
            position_.steps_done == plan_.total_steps;
    const std::optional<double> accuracy =
        ended ? end_epoch(epoch + 1, observer) : std::nullopt;
    if (checkpoint_is_due()) observer.checkpoint(position_, accuracy);
    if (stop_asked_) return position_.steps_done == plan_.total_steps;
  }
  return true;
}

std::vector<StepResult> Trainer::steps(BatchSource& loader,
                                       TrainRequests& requests) {
  std::optional<DevicePool::Use> use;
  if (records_steps()) use.emplace(pool_);
  if (const std::size_t count = recordable_steps(); count > 0) {
    std::array<std::int32_t, 2> asked{requests.save.exchange(false),
                                      requests.stop};
    communicator_.all_reduce(asked.data(), asked.size(), Dtype::kI32,
                             ReduceOp::kSum);
    save_asked_ = asked[0] > 0;
    stop_asked_ = asked[1] > 0;
    return recorded_steps(dynamic_cast<DeviceLoader&>(loader), count);
  }
  const std::size_t number = position_.steps_done + 1;
  StepPhases phases(communicator_, number);
  const std::optional<Batch> batch = loader.next();
  RINGLET_CHECK(batch, "the epoch of step {} has no such step", number);
  const StepMark mark(communicator_, number);
  return {step(*batch, phases, requests)};
}

bool Trainer::records_steps() const {
  return compute_.device == Device::kCuda && compute_.graph;
}

std::size_t Trainer::recordable_steps() const {
  if (!records_steps()) return 0;
  // Libraries make their plans in the first, and what is not finite is looked
  // at step by step.
  if (!has_run_whole_batch_ || position_.skipped_in_a_row > 0) return 0;
  const std::size_t whole_batches = data_.train.count() / plan_.global_batch;
  const std::size_t done = position_.steps_done;
  const std::size_t of_epoch = done % plan_.steps_per_epoch;
  if (of_epoch >= whole_batches) return 0;
  std::size_t count = std::min({RecordedSteps::kMost, whole_batches - of_epoch,
                                plan_.total_steps - done});
  if (const std::size_t period = options_.checkpoint_steps; period > 0) {
    count = std::min(count, period - done % period);
  }
  if (const Recorder* recorder = communicator_.recorder()) {
    const auto next = static_cast<std::int64_t>(done + 1);
    count = std::min(count, recorder->steps_at_once(next));
  }
  return count;
}

std::vector<StepResult> Trainer::recorded_steps(DeviceLoader& loader,
                                                std::size_t count) {
  const Clock::time_point begin = Clock::now();
  if (!recorded_) {
    recorded_ = std::make_unique<RecordedSteps>(RecordedSteps::Parts{
        plan_, static_cast<float>(options_.clip_norm), compute_, micro_batches_,
        parallel_, sgd_, average(), loader, buffers_, pool_});
  }
  loader.skip(count);
  const StepMark mark(communicator_, position_.steps_done + 1);
  const Activity activity(communicator_, EventKind::kDevice,
                          position_.steps_done + 1);
  const std::vector<cuda::StepRecord> records =
      recorded_->run(position_, count);
  const std::size_t number = position_.steps_done + count;
  const auto hashes = hashes_.of_step(number, records.back().result.loss,
                                      records.back().gradient_norm, {}, false);
  hashes_.check_weights(number);
  StepTimer share(begin);
  share.lap(StepPhase::kDevice,
            begin + (Clock::now() - begin) / static_cast<int>(count));
  std::vector<StepResult> results;
  for (const cuda::StepRecord& record : records) {
    results.push_back(settle(
        {record.result.loss, static_cast<std::size_t>(record.result.correct),
         plan_.global_batch, record.gradient_norm},
        record.skipped == 0, share));
  }
  results.back().hashes = hashes;
  return results;
}

StepResult Trainer::step(const Batch& batch, StepPhases& phases,
                         TrainRequests& requests) {
  phases.start(StepPhase::kForward);
  const double lr = learning_rate(plan_.schedule, position_.steps_done);
  std::vector<double> sums = run_shards(batch, phases);
  sums[kSave] = requests.save.exchange(false) ? 1 : 0;
  sums[kStop] = requests.stop ? 1 : 0;
  communicator_.all_reduce(sums.data(), sums.size(), Dtype::kF64,
                           ReduceOp::kSum);
  phases.start(StepPhase::kOptimizer);
  save_asked_ = sums[kSave] > 0;
  stop_asked_ = sums[kStop] > 0;
  std::vector<StepHashes::Shard> shards;
  std::vector<double> losses;
  for (std::size_t i = kShards; i < sums.size(); i += kOfShard) {
    losses.push_back(sums[i]);
    shards.push_back({sums[i], static_cast<std::uint64_t>(sums[i + 1])});
  }
  const double loss = tree_sum(losses);
  const float scale = 1 / position_.loss_scale.value;
  const double norm = std::sqrt(parallel_.sum_squares().item()) * scale;
  // All ranks have the same sums, so all come to the same answer.
  const bool finite = std::isfinite(loss) && std::isfinite(norm);
  const float clip = clip_factor(norm, static_cast<float>(options_.clip_norm));
  if (finite) {
    sgd_.step(static_cast<float>(lr), scale * clip, hashes_.wanted());
    if (average_) average_->update();
  }
  if (gradient_scale_.defined()) position_.loss_scale.update(finite);
  if (!finite) buffers_.undo();
  has_run_whole_batch_ |= batch.global_count == plan_.global_batch;
  const StepSums of_all{loss, static_cast<std::size_t>(sums[kCorrect]),
                        batch.global_count, norm};
  const std::size_t number = position_.steps_done + 1;
  const auto hashes = hashes_.of_step(number, loss, norm, shards, finite);
  hashes_.check_weights(number);
  StepResult result = settle(of_all, finite, phases.end());
  result.hashes = hashes;
  return result;
}

std::vector<double> Trainer::run_shards(const Batch& batch,
                                        StepPhases& phases) {
  const auto ranks = static_cast<std::size_t>(communicator_.size());
  const auto first =
      static_cast<std::size_t>(communicator_.rank()) * plan_.shards;
  std::vector<double> sums(kShards + kOfShard * ranks * plan_.shards);
  micro_batches_.run(batch, set_gradient_scale(), phases,
                     [&](std::size_t shard, const CrossEntropyOutput& out) {
                       const CrossEntropyResult result = out.read();
                       double* here =
                           &sums[kShards + kOfShard * (first + shard)];
                       here[0] = result.loss;
                       here[1] = static_cast<double>(parallel_.shard_hash());
                       sums[kCorrect] += static_cast<double>(result.correct);
                     });
  return sums;
}

StepResult Trainer::settle(const StepSums& sums, bool finite,
                           const StepTimer& timer) {
  const std::size_t before = position_.steps_done++;
  const StepResult result{.step = position_.steps_done,
                          .epoch = before / plan_.steps_per_epoch + 1,
                          .loss = sums.loss,
                          .lr = learning_rate(plan_.schedule, before),
                          .images = sums.images,
                          .correct = sums.correct,
                          .gradient_norm = sums.gradient_norm,
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

const float* Trainer::set_gradient_scale() const {
  if (!gradient_scale_.defined()) return nullptr;
  gradient_scale_.copy_from(Tensor::of({}, {position_.loss_scale.value}));
  return gradient_scale_.data();
}

// From the second one in a row on the ranks look at their own gradients too,
// to be able to say where it comes from.
void Trainer::skip() {
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
      "smaller --lr (now {}) or some --warmup-epochs may help{}",
      kMostSkipped, position_.steps_done, where, plan_.schedule.base_lr,
      options_.wire_dtype == "f16" ? ", or --wire-dtype bf16" : ""));
}

}  // namespace ringlet
