#include "engine/train/run_log.h"

#include <fmt/ostream.h>

#include <nlohmann/json.hpp>

namespace ringlet {
namespace {

constexpr double kPercent = 100;

// Of the phases that there were.
nlohmann::ordered_json times_of(const StepTimer& timer) {
  nlohmann::ordered_json times;
  for (std::size_t i = 0; i < kStepPhases; ++i) {
    const auto phase = static_cast<StepPhase>(i);
    if (timer.seconds(phase) == 0) continue;
    times[name_of(phase)] = timer.seconds(phase);
  }
  return times;
}

// Of a step's line in the metrics.
std::vector<Scalar> scalars_of(const nlohmann::ordered_json& line,
                               std::size_t skipped) {
  std::vector<Scalar> scalars;
  for (const char* name : {"loss", "accuracy", "lr", "gradient_norm",
                           "images_per_second", "epoch"}) {
    scalars.push_back({fmt::format("train/{}", name), line.at(name)});
  }
  scalars.push_back({"train/skipped", static_cast<double>(skipped)});
  for (const auto& [phase, time] : line.at("time").items()) {
    scalars.push_back({"seconds/" + phase, time});
  }
  return scalars;
}

std::vector<Scalar> scalars_of(const EpochResult& result) {
  std::vector<Scalar> scalars{{"epoch/loss", result.train_loss},
                              {"epoch/accuracy", result.train_accuracy},
                              {"epoch/seconds", result.seconds}};
  if (result.validation) {
    scalars.push_back({"validation/loss", result.validation->loss});
    scalars.push_back({"validation/accuracy", result.validation->accuracy});
  }
  return scalars;
}

}  // namespace

RunLog::RunLog(const RunDirectory& directory, const TrainOptions& options,
               const TrainPlan& plan, std::size_t steps_done, int columns,
               std::ostream& out)
    : out_(out),
      metrics_(directory.metrics()),
      progress_(std::make_unique<Progress>(plan.total_steps, options.log_every,
                                           columns, out)),
      directory_(directory) {
  if (options.tensorboard) {
    events_.emplace(directory.tensorboard(), steps_done + 1);
  }
}

void RunLog::step(const StepResult& result) {
  const double seconds = result.time.total();
  const auto images = static_cast<double>(result.images);
  const double accuracy = static_cast<double>(result.correct) / images;
  images_ += result.images;
  skipped_ = result.skipped_so_far;
  last_step_ = result.step;
  seconds_ += seconds;
  progress_->update({.step = result.step,
                     .epoch = result.epoch,
                     .loss = result.loss,
                     .images = images,
                     .seconds = seconds});
  nlohmann::ordered_json line{{"kind", "step"},
                              {"step", result.step},
                              {"epoch", result.epoch},
                              {"loss", result.loss},
                              {"accuracy", accuracy},
                              {"lr", result.lr},
                              {"gradient_norm", result.gradient_norm},
                              {"images", result.images},
                              {"images_per_second", images / seconds},
                              {"time", times_of(result.time)}};
  if (result.skipped) line["skipped"] = true;
  metrics_.write(line);
  if (events_)
    events_->write(result.step, scalars_of(line, result.skipped_so_far));
}

void RunLog::epoch(const EpochResult& result) {
  nlohmann::ordered_json line{
      {"kind", "epoch"},
      {"epoch", result.epoch},
      {"seconds", result.seconds},
      {"train",
       {{"loss", result.train_loss}, {"accuracy", result.train_accuracy}}}};
  std::string text = fmt::format(
      "epoch {}: training loss {:.4f}, accuracy {:.2f} %", result.epoch,
      result.train_loss, result.train_accuracy * kPercent);
  if (result.validation) {
    validation_ = result.validation;
    line["validation"] = {{"loss", validation_->loss},
                          {"accuracy", validation_->accuracy},
                          {"pictures", validation_->pictures}};
    text += fmt::format(
        "; on {} held-out pictures loss {:.4f}, accuracy "
        "{:.2f} %",
        validation_->pictures, validation_->loss,
        validation_->accuracy * kPercent);
  }
  for (const RankUsage& usage : result.usage) {
    line["ranks"].push_back({{"peak_memory_mib", usage.peak_memory_mib},
                             {"cpu_seconds", usage.cpu_seconds}});
  }
  metrics_.write(line);
  if (events_) events_->write(last_step_, scalars_of(result));
  progress_->message(text);
}

void RunLog::evaluating(std::size_t done, std::size_t count) {
  progress_->status(fmt::format("evaluating: picture {} of {}", done, count));
}

void RunLog::note(const std::string& text) { progress_->message(text); }

void RunLog::stopped() {
  progress_.reset();  // ends the bar's line
  fmt::print(out_,
             "stopped after step {}, as asked; to go on: ringlet train "
             "--resume {}\n",
             last_step_, directory_.path().string());
}

// A run that was resumed at its end has no steps and no evaluation.
void RunLog::summary() {
  progress_.reset();
  const std::string speed =
      images_ == 0 ? ""
                   : fmt::format(" ({:.1f} images/s)",
                                 static_cast<double>(images_) / seconds_);
  const std::string accuracy =
      !validation_
          ? ""
          : fmt::format(
                "; top-1 accuracy {:.2f} % on {} held-out "
                "pictures",
                validation_->accuracy * kPercent, validation_->pictures);
  if (skipped_ > 0) {
    fmt::print(out_, "skipped {} steps whose loss or gradient was not finite\n",
               skipped_);
  }
  fmt::print(out_,
             "trained on {} pictures in {}{}{}\n"
             "weights   {}\n"
             "metrics   {}\n",
             images_, format_duration(seconds_), speed, accuracy,
             directory_.weights().string(), directory_.metrics().string());
}

}  // namespace ringlet
