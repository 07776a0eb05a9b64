#include "bench/allreduce_perf/model.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <map>

#include "bench/allreduce_perf/backends.h"
#include "bench/measure/statistics.h"
#include "kernels/reduce.h"

namespace ringlet {
namespace {

constexpr double kMicro = 1e6, kGiga = 1e9;
constexpr std::size_t kSlice = 1 << 20;
constexpr int kGammaRepeats = 50;

double rounds_of(int ranks) {
  return std::bit_width(static_cast<unsigned>(ranks - 1));
}

std::vector<double> regressors(const Cost& cost, std::size_t bytes) {
  return {cost.steps, cost.sent * static_cast<double>(bytes)};
}

std::string interval_text(Interval interval, double unit) {
  if (!bounded(interval)) return "unknown";
  return fmt::format("{:.3g} to {:.3g}", interval.low * unit,
                     interval.high * unit);
}

}  // namespace

std::optional<Cost> cost_of(const std::string& backend, int ranks) {
  const std::string name = backend.substr(0, backend.find(':'));
  const double others = ranks - 1;
  const double rounds = rounds_of(ranks);
  const double share = others / ranks;
  if (ranks < 2 || wire_of(backend) != Dtype::kF32) return {};
  if (name == "ring") return Cost{2 * others, 2 * share, share};
  if (name == "ordered") return Cost{1 + others, 2 * share, share};
  if (name == "naive") return Cost{2 * others, 2 * others, others};
  if (name == "tree") return Cost{2 * rounds, 2 * rounds, rounds};
  if (name == "recursive_doubling") {
    const bool power = std::has_single_bit(static_cast<unsigned>(ranks));
    const double steps = power ? rounds : rounds + 1;
    return Cost{steps, steps, rounds};
  }
  return {};
}

double CostModel::expected(std::size_t bytes) const {
  return predict(fit, regressors(*cost_of(backend, ranks), bytes));
}

double CostModel::adding_per_sent() const {
  const Cost cost = *cost_of(backend, ranks);
  return gamma * cost.added / cost.sent;
}

double measure_gamma() {
  std::vector<float> a(kSlice / sizeof(float), 1), b(a.size(), 1);
  std::vector<double> seconds;
  for (int i = 0; i < kGammaRepeats; ++i) {
    const auto start = std::chrono::steady_clock::now();
    reduce(a.data(), b.data(), a.size(), Dtype::kF32, ReduceOp::kSum);
    const std::chrono::duration<double> took =
        std::chrono::steady_clock::now() - start;
    seconds.push_back(took.count() / kSlice);
  }
  return median(seconds);
}

std::vector<CostModel> fit_models(const std::vector<Row>& rows, double gamma) {
  std::map<std::string, std::vector<const Row*>> by_backend;
  for (const Row& row : rows) {
    const bool modelled = row.kind == CollectiveKind::kAllReduce &&
                          row.bytes > 0 && cost_of(row.backend, row.ranks);
    if (modelled) by_backend[row.backend].push_back(&row);
  }
  std::vector<CostModel> models;
  for (const auto& [backend, found] : by_backend) {
    constexpr std::size_t kFewestSizes = 3;
    const Cost cost = *cost_of(backend, found.front()->ranks);
    std::vector<Observation> observations;
    for (const Row* row : found) {
      observations.push_back({regressors(cost, row->bytes), row->seconds()});
    }
    const auto less = [](const Row* a, const Row* b) {
      return a->bytes < b->bytes;
    };
    const auto [least, most] =
        std::minmax_element(found.begin(), found.end(), less);
    if (found.size() < kFewestSizes || (*least)->bytes == (*most)->bytes) {
      continue;
    }
    CostModel model{backend,
                    found.front()->ranks,
                    fit_nonnegative(observations),
                    gamma,
                    0,
                    (*least)->bytes,
                    (*most)->bytes};
    model.beta =
        std::max(0.0, model.fit.coefficients[1] - model.adding_per_sent());
    models.push_back(model);
  }
  return models;
}

std::string describe(const CostModel& model) {
  return fmt::format(
      "# Model of {} on {} ranks: alpha {:.3g} us per message (95 %: {}), "
      "beta + adding {:.3g} ns per KiB sent (95 %: {}), of which adding "
      "{:.3g}; "
      "it misses the measured times by {:.0f} % in the median, {:.0f} % at "
      "worst",
      model.backend, model.ranks, model.alpha() * kMicro,
      interval_text(model.fit.intervals[0], kMicro),
      model.fit.coefficients[1] * kGiga * 1024,
      interval_text(model.fit.intervals[1], kGiga * 1024),
      model.adding_per_sent() * kGiga * 1024, 100 * model.fit.relative_error,
      100 * model.fit.worst_error);
}

std::string prediction(const CostModel& model, const PerfOptions& options) {
  const int ranks = options.predict_ranks;
  const auto cost = cost_of(model.backend, ranks);
  if (!cost) return "";
  const bool latency = options.link_latency > 0;
  const bool bandwidth = options.link_bandwidth > 0;
  // A link's latency comes on top of what the software takes here.
  const double alpha = model.alpha() + options.link_latency;
  const double beta = bandwidth ? 1 / options.link_bandwidth : model.beta;
  std::string text = fmt::format(
      "# Predicted, not measured: {} on {} ranks; latency {}, bandwidth {}\n"
      "#  size (B)   time (us)  busbw (GB/s)\n",
      model.backend, ranks,
      latency
          ? fmt::format("{:.3g} us (assumed) beside {:.3g} us of software "
                        "(fitted)",
                        options.link_latency * kMicro, model.alpha() * kMicro)
          : fmt::format("{:.3g} us (fitted)", alpha * kMicro),
      beta > 0 ? fmt::format("{:.3g} GB/s ({})", 1 / beta / kGiga,
                             bandwidth ? "assumed" : "fitted")
               : "no limit found");
  for (const std::size_t bytes : sizes_of(options)) {
    const auto size = static_cast<double>(bytes);
    const double seconds =
        cost->steps * alpha +
        size * (cost->sent * beta + cost->added * model.gamma);
    text += fmt::format(
        "# {:>9}  {:>10.2f}  {:>12.3f}\n", bytes, seconds * kMicro,
        size / seconds * bus_factor(CollectiveKind::kAllReduce, ranks) / kGiga);
  }
  text += fmt::format(
      "# Trust: fitted to {} ranks and {} to {} bytes on this host, where it "
      "misses by {:.0f} % in the median and {:.0f} % at worst. {}{}",
      model.ranks, model.least_bytes, model.most_bytes,
      100 * model.fit.relative_error, 100 * model.fit.worst_error,
      ranks > 2 * model.ranks
          ? fmt::format("{} ranks are beyond twice what was measured: an "
                        "extrapolation. ",
                        ranks)
          : "",
      latency || bandwidth
          ? "The link's figures are assumed: contention, routes and switches "
            "are not in the model."
          : "Ranks are taken to be joined as on this host, each with a core "
            "of its own.");
  return text;
}

}  // namespace ringlet
