#include "engine/train/options.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "kernels/runtime/error.h"

namespace ringlet {

nlohmann::ordered_json to_json(const TrainOptions& o) {
  return {{"model", o.model},
          {"stem", o.stem},
          {"zero_init_residual", o.zero_init_residual},
          {"init", o.init},
          {"data", o.data},
          {"augment", o.augment},
          {"workers", o.workers},
          {"steps", o.steps},
          {"epochs", o.epochs},
          {"batch_size", o.batch_size},
          {"batch_per_rank", o.batch_per_rank},
          {"lr", o.lr},
          {"base_batch", o.base_batch},
          {"schedule", o.schedule},
          {"milestones", o.milestones},
          {"gamma", o.gamma},
          {"warmup_epochs", o.warmup_epochs},
          {"momentum", o.momentum},
          {"nesterov", o.nesterov},
          {"weight_decay", o.weight_decay},
          {"no_decay_bn_bias", o.no_decay_bn_bias},
          {"label_smoothing", o.label_smoothing},
          {"comm", o.comm},
          {"bucket_mb", o.bucket_mb},
          {"device", o.device},
          {"conv", o.conv},
          {"threads", o.threads},
          {"seed", o.seed},
          {"out", o.out},
          {"eval_every", o.eval_every},
          {"log_every", o.log_every}};
}

std::size_t global_batch(const TrainOptions& options, std::size_t ranks) {
  if (options.batch_per_rank > 0) return options.batch_per_rank * ranks;
  const std::size_t batch =
      options.batch_size > 0 ? options.batch_size : kDefaultBatch;
  if (batch < ranks) {
    throw Error(fmt::format(
        "--batch-size {}: expected at least one picture for each of the {} "
        "ranks",
        batch, ranks));
  }
  return batch;
}

TrainPlan make_plan(const TrainOptions& options, std::size_t pictures,
                    std::size_t ranks) {
  TrainPlan plan{};
  plan.global_batch = global_batch(options, ranks);
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
  plan.schedule.base_lr =
      options.base_batch > 0
          ? scaled_lr(options.lr, plan.global_batch, options.base_batch)
          : options.lr;
  plan.schedule.milestones = options.milestones;
  plan.schedule.gamma = options.gamma;
  plan.schedule.warmup_epochs = options.warmup_epochs;
  plan.schedule.steps_per_epoch = plan.steps_per_epoch;
  plan.schedule.total_steps = plan.total_steps;
  return plan;
}

}  // namespace ringlet
