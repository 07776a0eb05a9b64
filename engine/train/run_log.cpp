#include "engine/train/run_log.h"

#include <fmt/ostream.h>

#include <nlohmann/json.hpp>

namespace ringlet {
namespace {

constexpr double kPercent = 100;

nlohmann::ordered_json times_of(const StepTimer& timer) {
  nlohmann::ordered_json times;
  for (std::size_t i = 0; i < kPhases; ++i) {
    const auto phase = static_cast<Phase>(i);
    times[name_of(phase)] = timer.seconds(phase);
  }
  return times;
}

}  // namespace

RunLog::RunLog(const RunDirectory& directory, const TrainOptions& options,
               const TrainPlan& plan, int columns, std::ostream& out)
    : out_(out),
      metrics_(directory.metrics()),
      progress_(std::make_unique<Progress>(plan.total_steps, options.log_every,
                                           columns, out)),
      directory_(directory) {}

void RunLog::step(const StepResult& result) {
  const double seconds = result.time.total();
  const auto images = static_cast<double>(result.images);
  images_ += result.images;
  seconds_ += seconds;
  progress_->update({.step = result.step,
                     .epoch = result.epoch,
                     .loss = result.loss,
                     .images = images,
                     .seconds = seconds});
  metrics_.write({{"kind", "step"},
                  {"step", result.step},
                  {"epoch", result.epoch},
                  {"loss", result.loss},
                  {"lr", result.lr},
                  {"images", result.images},
                  {"images_per_second", images / seconds},
                  {"time", times_of(result.time)}});
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
  metrics_.write(line);
  progress_->message(text);
}

void RunLog::evaluating(std::size_t done, std::size_t count) {
  progress_->status(fmt::format("evaluating: picture {} of {}", done, count));
}

void RunLog::summary() {
  progress_.reset();  // ends the bar's line
  fmt::print(out_,
             "trained on {} pictures in {} ({:.1f} images/s); top-1 accuracy "
             "{:.2f} % on {} held-out pictures\n"
             "weights   {}\n"
             "metrics   {}\n",
             images_, format_duration(seconds_),
             static_cast<double>(images_) / seconds_,
             validation_->accuracy * kPercent, validation_->pictures,
             directory_.weights().string(), directory_.metrics().string());
}

}  // namespace ringlet
