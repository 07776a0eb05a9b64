#include <fmt/format.h>

#include "bench/measure/order.h"
#include "bench/measure/statistics.h"
#include "bench/train_perf/reports.h"
#include "kernels/runtime/threads.h"

namespace ringlet {

using nlohmann::ordered_json;

ordered_json compare(
    const TrainPerfOptions& options,
    const std::vector<std::unique_ptr<Communicator>>& communicators) {
  const std::size_t n = communicators.size();
  std::vector<std::unique_ptr<Training>> trainings;
  for (const auto& communicator : communicators) {
    trainings.push_back(std::make_unique<Training>(options, *communicator));
  }
  std::vector<std::vector<double>> seconds(n), exposed(n);
  for (std::size_t i = 0; i < options.warmup + options.steps; ++i) {
    for (const std::size_t k : shuffled(n, 1, i)) {
      communicators[k]->barrier();
      const Step step = trainings[k]->step();
      if (i < options.warmup) continue;
      seconds[k].push_back(step.time.total());
      exposed[k].push_back(step.time.seconds(StepPhase::kCommunication));
    }
  }
  ordered_json result = ordered_json::array();
  for (std::size_t k = 0; k < n; ++k) {
    const Estimate wait = median_estimate(exposed[k]);
    const Estimate ratio = paired_ratio(seconds[k], seconds.back());
    result.push_back({{"communicator", communicators[k]->name()},
                      {"model", options.model},
                      {"batch", options.batch},
                      {"ranks", communicators[k]->size()},
                      {"threads", kernel_threads()},
                      {"steps", options.steps},
                      {"images_per_second",
                       static_cast<double>(options.batch) / median(seconds[k])},
                      {"exposed_communication",
                       {{"median", wait.median},
                        {"low", wait.interval.low},
                        {"high", wait.interval.high}}},
                      {"time_ratio",
                       {{"median", ratio.median},
                        {"low", ratio.interval.low},
                        {"high", ratio.interval.high}}}});
  }
  return result;
}

void print_comparison(const ordered_json& results) {
  const auto& first = results.front();
  fmt::print("{}, batch {} on {} ranks of {} thread(s); {} steps of each\n",
             first["model"].get<std::string>(), first["batch"].dump(),
             first["ranks"].dump(), first["threads"].dump(),
             first["steps"].dump());
  fmt::print("{:<20} {:>8}  {:<28}  {}\n", "", "images/s",
             "exposed communication, ms",
             "step's time / " +
                 results.back()["communicator"].get<std::string>() + "'s");
  for (const auto& r : results) {
    const auto& wait = r["exposed_communication"];
    const auto& ratio = r["time_ratio"];
    fmt::print("{:<20} {:8.1f}  {:<28}  {:.3f} [{:.3f} {:.3f}]\n",
               r["communicator"].get<std::string>(),
               r["images_per_second"].get<double>(),
               fmt::format("{:.1f} [{:.1f} {:.1f}]",
                           1e3 * wait["median"].get<double>(),
                           1e3 * wait["low"].get<double>(),
                           1e3 * wait["high"].get<double>()),
               ratio["median"].get<double>(), ratio["low"].get<double>(),
               ratio["high"].get<double>());
  }
}

}  // namespace ringlet
