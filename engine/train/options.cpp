#include "engine/train/options.h"

#include <fmt/format.h>

#include <bit>
#include <nlohmann/json.hpp>

#include "kernels/runtime/error.h"

namespace ringlet {

namespace {

// Calls visit(name, member) for each option; O is const or not.
template <typename O, typename Visit>
void each_option(O& o, Visit visit) {
  visit("model", o.model);
  visit("stem", o.stem);
  visit("zero_init_residual", o.zero_init_residual);
  visit("init", o.init);
  visit("data", o.data);
  visit("augment", o.augment);
  visit("cutout", o.cutout);
  visit("mixup", o.mixup);
  visit("workers", o.workers);
  visit("steps", o.steps);
  visit("epochs", o.epochs);
  visit("batch_size", o.batch_size);
  visit("batch_per_rank", o.batch_per_rank);
  visit("accumulate", o.accumulate);
  visit("virtual_ranks", o.virtual_ranks);
  visit("batch_norm", o.batch_norm);
  visit("lr", o.lr);
  visit("base_batch", o.base_batch);
  visit("schedule", o.schedule);
  visit("milestones", o.milestones);
  visit("gamma", o.gamma);
  visit("warmup_epochs", o.warmup_epochs);
  visit("momentum", o.momentum);
  visit("nesterov", o.nesterov);
  visit("optimizer", o.optimizer);
  visit("trust", o.trust);
  visit("weight_decay", o.weight_decay);
  visit("no_decay_bn_bias", o.no_decay_bn_bias);
  visit("label_smoothing", o.label_smoothing);
  visit("clip_norm", o.clip_norm);
  visit("ema_decay", o.ema_decay);
  visit("comm", o.comm);
  visit("comm_table", o.comm_table);
  visit("check_calls", o.check_calls);
  visit("timeout", o.timeout);
  visit("fault", o.fault);
  visit("bucket_mb", o.bucket_mb);
  visit("wire_dtype", o.wire_dtype);
  visit("hashes", o.hashes);
  visit("check_weights", o.check_weights);
  visit("device", o.device);
  visit("precision", o.precision);
  visit("cuda_graph", o.cuda_graph);
  visit("conv", o.conv);
  visit("threads", o.threads);
  visit("seed", o.seed);
  visit("recipe", o.recipe);
  visit("out", o.out);
  visit("resume", o.resume);
  visit("checkpoint_steps", o.checkpoint_steps);
  visit("checkpoint_epochs", o.checkpoint_epochs);
  visit("keep", o.keep);
  visit("eval_every", o.eval_every);
  visit("log_every", o.log_every);
  visit("tensorboard", o.tensorboard);
  visit("trace", o.trace);
  visit("trace_first", o.trace_first);
  visit("trace_last", o.trace_last);
}

}  // namespace

nlohmann::ordered_json to_json(const TrainOptions& options) {
  nlohmann::ordered_json json;
  each_option(options,
              [&](const char* name, const auto& value) { json[name] = value; });
  return json;
}

TrainOptions options_from_json(const nlohmann::ordered_json& json) {
  TrainOptions options;
  nlohmann::ordered_json unknown = json;
  each_option(options, [&](const char* name, auto& value) {
    if (unknown.erase(name) == 0) return;
    try {
      json.at(name).get_to(value);
    } catch (const nlohmann::json::exception& error) {
      throw Error(fmt::format("option '{}': {}", name, error.what()));
    }
  });
  if (!unknown.empty()) {
    throw Error(fmt::format("option '{}': this version does not have it",
                            unknown.begin().key()));
  }
  return options;
}

std::size_t shards_of_rank(const TrainOptions& options, std::size_t ranks) {
  const std::size_t parts = options.virtual_ranks;
  if (parts == 0) return options.accumulate;
  if (options.accumulate > 1) {
    throw Error(fmt::format(
        "--accumulate {}: expected none with --virtual-ranks, each of which is "
        "a pass of its own",
        options.accumulate));
  }
  if (options.batch_norm == "synchronised") {
    throw Error(fmt::format(
        "--batch-norm synchronised: expected local or averaged with "
        "--virtual-ranks {}, each of which has statistics of its own",
        parts));
  }
  if (!std::has_single_bit(parts) || parts % ranks != 0) {
    throw Error(fmt::format(
        "--virtual-ranks {}: expected a power of two and a multiple of the {} "
        "ranks",
        parts, ranks));
  }
  return parts / ranks;
}

std::size_t global_batch(const TrainOptions& options, std::size_t ranks) {
  const std::size_t parts = ranks * shards_of_rank(options, ranks);
  const bool per_rank = options.batch_per_rank > 0;
  const std::size_t batch = per_rank ? options.batch_per_rank * ranks
                            : options.batch_size > 0 ? options.batch_size
                                                     : kDefaultBatch;
  if (batch < parts) {
    throw Error(fmt::format(
        "--{} {}: expected at least one picture for each of the {} {}",
        per_rank ? "batch-per-rank" : "batch-size",
        per_rank ? options.batch_per_rank : batch, parts,
        options.virtual_ranks > 0 ? "virtual ranks"
        : options.accumulate > 1  ? "passes of all ranks"
                                  : "ranks"));
  }
  return batch;
}

TrainPlan make_plan(const TrainOptions& options, std::size_t pictures,
                    std::size_t ranks) {
  TrainPlan plan{};
  plan.global_batch = global_batch(options, ranks);
  plan.shards = shards_of_rank(options, ranks);
  if (plan.global_batch > pictures) {
    throw Error(fmt::format(
        "a batch of {} pictures: expected at most the {} training pictures; "
        "see --batch-size",
        plan.global_batch, pictures));
  }
  plan.steps_per_epoch = (pictures + plan.global_batch - 1) / plan.global_batch;
  plan.total_steps = options.epochs > 0 ? options.epochs * plan.steps_per_epoch
                                        : options.steps;
  if (plan.total_steps == 0) plan.total_steps = kDefaultSteps;

  plan.schedule.kind = parse_schedule(options.schedule);
  plan.schedule.base_lr = options.lr;
  if (options.base_batch > 0) {  // the linear scaling rule
    plan.schedule.base_lr = options.lr *
                            static_cast<double>(plan.global_batch) /
                            static_cast<double>(options.base_batch);
  }
  plan.schedule.milestones = options.milestones;
  if (plan.schedule.kind == ScheduleKind::kMultiStep &&
      options.milestones.empty()) {
    throw Error(
        "--schedule multistep: expected --milestones, the epochs at which the "
        "rate falls");
  }
  plan.schedule.gamma = options.gamma;
  plan.schedule.warmup_epochs = options.warmup_epochs;
  plan.schedule.steps_per_epoch = plan.steps_per_epoch;
  plan.schedule.total_steps = plan.total_steps;
  return plan;
}

}  // namespace ringlet
