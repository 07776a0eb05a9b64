#include "bench/allreduce_perf/report.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "kernels/runtime/check.h"

namespace ringlet {
namespace {

using nlohmann::ordered_json;

constexpr double kMicro = 1e6;
constexpr int kJsonVersion = 1;

// As nccl-tests: as many decimals, two at most, as the width leaves.
std::string number(double value, int width) {
  for (const int decimals : {2, 1, 0}) {
    std::string text = fmt::format("{:.{}f}", value, decimals);
    if (text.size() <= static_cast<std::size_t>(width)) {
      return fmt::format("{:>{}}", text, width);
    }
  }
  return fmt::format("{:>{}.1e}", value, width);
}

std::string op_name(const Row& row) {
  const bool reduces = row.kind != CollectiveKind::kAllGather &&
                       row.kind != CollectiveKind::kBroadcast;
  return reduces ? name_of(row.op) : "none";
}

std::string spread_text(const Estimate& estimate) {
  const auto [low, high] = estimate.interval;
  return bounded(estimate.interval)
             ? fmt::format("{:.1f}", 50 * (high - low) / estimate.median)
             : "N/A";
}

std::string ratio_text(const Row& row) {
  if (!bounded(row.ratio.interval)) {
    return fmt::format("{:.3f}", row.ratio.median);
  }
  return fmt::format("{:.3f} [{:.3f} {:.3f}]", row.ratio.median,
                     row.ratio.interval.low, row.ratio.interval.high);
}

std::string placement_text(const Placement& placement, const Row& row,
                           const PerfOptions& options) {
  if (placement.times.empty()) {
    return fmt::format("  {:>7}  {:>6}  {:>6}  {:>6}{:>{}}", "N/A", "N/A",
                       "N/A", "N/A", "", options.per_iteration ? 36 : 0);
  }
  std::string text = fmt::format(
      "  {}  {}  {}  {:>6}", number(placement.time.median * kMicro, 7),
      number(row.algorithm_bandwidth(placement), 6),
      number(row.bus_bandwidth(placement), 6),
      placement.wrong < 0 ? "N/A" : fmt::format("{:g}", placement.wrong));
  if (options.per_iteration) {
    text += fmt::format("  {}  {}  {}  {}", number(placement.least * kMicro, 7),
                        number(placement.most * kMicro, 7),
                        number(placement.p99 * kMicro, 7),
                        number(100 * placement.variation, 7));
  }
  return text;
}

std::string timestamp() {
  return fmt::format("{:%Y-%m-%d %H:%M:%S}",
                     fmt::localtime(std::chrono::system_clock::to_time_t(
                         std::chrono::system_clock::now())));
}

ordered_json to_json(Interval interval) {
  if (!bounded(interval)) return nullptr;
  return {interval.low, interval.high};
}

// The keys of nccl-tests' -J, and ours behind them.
ordered_json to_json(const Placement& placement, const Row& row) {
  if (placement.times.empty()) return nullptr;
  const Interval interval{placement.time.interval.low * kMicro,
                          placement.time.interval.high * kMicro};
  std::vector<double> times;
  for (const double time : placement.times) times.push_back(time * kMicro);
  return {{"time", placement.time.median * kMicro},
          {"alg_bw", row.algorithm_bandwidth(placement)},
          {"bus_bw", row.bus_bandwidth(placement)},
          {"nwrong", placement.wrong < 0 ? ordered_json(nullptr)
                                         : ordered_json(placement.wrong)},
          {"max_ulp", placement.ulp < 0 ? ordered_json(nullptr)
                                        : ordered_json(placement.ulp)},
          {"time_95", to_json(interval)},
          {"avg_us", placement.mean * kMicro},
          {"min_us", placement.least * kMicro},
          {"max_us", placement.most * kMicro},
          {"p99_us", placement.p99 * kMicro},
          {"cv_pct", 100 * placement.variation},
          {"times_us", times}};
}

ordered_json to_json(const Row& row) {
  return {{"size", row.bytes},
          {"count", row.count},
          {"type", nccl_name(row.dtype)},
          {"redop", op_name(row)},
          {"root", row.root},
          {"backend", row.backend},
          {"ranks", row.ranks},
          {"calls_per_sample", row.calls},
          {"out_of_place", to_json(row.out_of_place, row)},
          {"in_place", to_json(row.in_place, row)},
          {"ratio_to_baseline", row.ratio.median},
          {"ratio_95", to_json(row.ratio.interval)},
          {"noise", name_of(row.noise.grade)},
          {"memory_limit_gbs",
           {{"read", row.limit.read / 1e9},
            {"copy", row.limit.copy / 1e9},
            {"add", row.limit.add / 1e9}}},
          {"bytes_sent_busiest", row.in_place.sent < 0
                                     ? ordered_json(nullptr)
                                     : ordered_json(row.in_place.sent)},
          {"share_of_limit", row.share_of_limit()}};
}

void print_csv_header() {
  fmt::print(
      "backend,op,ranks,size,count,type,redop,root,placement,time_us,"
      "time_low_us,time_high_us,mean_us,min_us,max_us,p99_us,algbw_gbs,"
      "busbw_gbs,nwrong,max_ulp,ratio,ratio_low,ratio_high,noise\n");
}

void print_csv(const Row& row) {
  for (const bool in_place : {false, true}) {
    const Placement& p = in_place ? row.in_place : row.out_of_place;
    if (p.times.empty()) continue;
    fmt::print(
        "{},{},{},{},{},{},{},{},{},{:.4f},{:.4f},{:.4f},{:.4f},{:.4f},"
        "{:.4f},{:.4f},{:.4f},{:.4f},{},{},",
        row.backend, name_of(row.kind), row.ranks, row.bytes, row.count,
        nccl_name(row.dtype), op_name(row), row.root, in_place ? "in" : "out",
        p.time.median * kMicro, p.time.interval.low * kMicro,
        p.time.interval.high * kMicro, p.mean * kMicro, p.least * kMicro,
        p.most * kMicro, p.p99 * kMicro, row.algorithm_bandwidth(p),
        row.bus_bandwidth(p), p.wrong < 0 ? "" : fmt::format("{}", p.wrong),
        p.ulp < 0 ? "" : fmt::format("{:.3g}", p.ulp));
    if (in_place) {
      fmt::print("{:.4f},{:.4f},{:.4f},{}\n", row.ratio.median,
                 row.ratio.interval.low, row.ratio.interval.high,
                 name_of(row.noise.grade));
    } else {
      fmt::print(",,,\n");
    }
  }
}

}  // namespace

Report::Report(const PerfOptions& options, const RunFacts& facts)
    : options_(options), facts_(facts) {
  header();
}

void Report::header() const {
  if (options_.format == Format::kCsv) return print_csv_header();
  if (options_.format == Format::kJson) return;
  if (options_.format == Format::kOsu) {
    fmt::print(
        "# Ringlet {} latency, back end {}\n# Datatype: {}.\n"
        "# Size       Avg Latency(us)   Min Latency(us)   Max Latency(us)  "
        "Iterations\n",
        name_of(options_.kind), options_.backends.front(),
        nccl_name(options_.dtypes.front()));
    return;
  }
  fmt::print(
      "# Ringlet: the columns and options are nccl-tests'; bench/README.md "
      "explains all\n# Collective test starting: {}_perf\n"
      "# minBytes {} maxBytes {} step: {}({}) warmup iters: {} iters: {} "
      "validation: {} blocking: {}\n#\n# {}\n# {}, {}\n",
      name_of(options_.kind), options_.min_bytes, options_.max_bytes,
      options_.step_factor > 0 ? fmt::format("{}", options_.step_factor)
                               : fmt::format("{}", options_.step_bytes),
      options_.step_factor > 0 ? "factor" : "bytes", options_.warmup,
      options_.iterations, options_.checks, options_.blocking, facts_.command,
      facts_.mpi, facts_.start_time);
  for (const std::string& rank : facts_.ranks) fmt::print("#  {}\n", rank);
  for (const std::string& note : facts_.notes) fmt::print("# {}\n", note);
  const char* more =
      options_.per_iteration ? "  {0:>7}  {1:>7}  {2:>7}  {3:>7}" : "";
  const std::string names =
      fmt::format(fmt::runtime(more), "i_min", "i_max", "i_p99", "i_cv%");
  const std::string units =
      fmt::format(fmt::runtime(more), "(us)", "(us)", "(us)", "");
  const std::string block = fmt::format("  {:>7}  {:>6}  {:>6}  {:>6}", "time",
                                        "algbw", "busbw", "#wrong");
  const std::string block_units = fmt::format("  {:>7}  {:>6}  {:>6}  {:>6}",
                                              "(us)", "(GB/s)", "(GB/s)", "");
  fmt::print("#\n# {:>10}  {:>12}  {:>8}  {:>6}  {:>6}  {:^{}}  {:^{}}\n", "",
             "", "", "", "", "out-of-place", block.size() + names.size() - 2,
             "in-place", block.size() + names.size() - 2);
  fmt::print(
      "# {:>10}  {:>12}  {:>8}  {:>6}  {:>6}{}{}{}{}  {:<22} {:>6}  "
      "{:>7}  {:>7}  {:>5}  {:>6}  {:<21}  {}\n",
      "size", "count", "type", "redop", "root", block, names, block, names,
      "backend", "+-95%", "p99", "ulp", "wire", "limit%",
      "time / " + options_.baseline, "noise");
  fmt::print(
      "# {:>10}  {:>12}  {:>8}  {:>6}  {:>6}{}{}{}{}  {:<22} {:>6}  "
      "{:>7}\n",
      "(B)", "(elements)", "", "", "", block_units, units, block_units, units,
      "", "(%)", "(us)");
}

void Report::table_row(const Row& row) const {
  fmt::print(
      "{:>12}  {:>12}  {:>8}  {:>6}  {:>6}{}{}  {:<22} {:>6}  {}  {:>7}"
      "  {:>5}  {:>6}  {:<21}  {}{}\n",
      row.bytes, row.count, nccl_name(row.dtype), op_name(row), row.root,
      placement_text(row.out_of_place, row, options_),
      placement_text(row.in_place, row, options_), row.backend,
      spread_text(row.in_place.time), number(row.in_place.p99 * kMicro, 7),
      row.in_place.ulp < 0 ? "N/A" : fmt::format("{:.2g}", row.in_place.ulp),
      row.wire() < 0 ? "N/A" : fmt::format("{:.3g}", row.wire()),
      fmt::format("{:.0f}", 100 * row.share_of_limit()), ratio_text(row),
      name_of(row.noise.grade), options_.timestamps ? "  " + timestamp() : "");
}

void Report::rows(const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    rows_.push_back(row);
    switch (options_.format) {
      case Format::kTable:
        table_row(row);
        break;
      case Format::kCsv:
        print_csv(row);
        break;
      case Format::kOsu:
        fmt::print("{:<10} {:>17.2f} {:>17.2f} {:>17.2f} {:>11}\n", row.bytes,
                   row.in_place.mean * kMicro, row.in_place.least * kMicro,
                   row.in_place.most * kMicro, options_.iterations * row.calls);
        break;
      case Format::kJson:
        break;
    }
  }
  std::fflush(stdout);
}

void Report::models(const std::vector<CostModel>& models) { models_ = models; }

bool Report::any_wrong() const { return totals().wrong > 0; }

bool Report::any_useless() const {
  return std::any_of(rows_.begin(), rows_.end(), [this](const Row& row) {
    return options_.iterations >= kFewestForInterval &&
           row.noise.grade == NoiseGrade::kUseless;
  });
}

Report::Totals Report::totals() const {
  Totals all;
  std::size_t placements = 0;
  for (const Row& row : rows_) {
    for (const Placement* p : {&row.out_of_place, &row.in_place}) {
      if (p->times.empty()) continue;
      all.wrong += std::max(0.0, p->wrong);
      all.bus_bandwidth += row.bus_bandwidth(*p);
      ++placements;
    }
  }
  if (placements > 0) all.bus_bandwidth /= static_cast<double>(placements);
  return all;
}

std::string Report::json() const {
  ordered_json rows = ordered_json::array();
  for (const Row& row : rows_) rows.push_back(to_json(row));
  const Totals all = totals();
  ordered_json models = ordered_json::array();
  for (const CostModel& model : models_) {
    models.push_back({{"backend", model.backend},
                      {"ranks", model.ranks},
                      {"alpha_us", model.alpha() * kMicro},
                      {"beta_ns_per_byte", model.beta * 1e9},
                      {"gamma_ns_per_byte", model.gamma * 1e9},
                      {"relative_error", model.fit.relative_error},
                      {"worst_error", model.fit.worst_error}});
  }
  const ordered_json report{
      {"version", kJsonVersion},
      {"start_time", facts_.start_time},
      {"args", facts_.command},
      {"mpi", facts_.mpi},
      {"devices", facts_.ranks},
      {"notes", facts_.notes},
      {"results", rows},
      {"models", models},
      {"out_of_bounds", {{"count", all.wrong}, {"okay", all.wrong == 0}}},
      {"average_bus_bandwidth", all.bus_bandwidth}};
  return report.dump(1);
}

void Report::finish() {
  if (options_.format == Format::kTable) {
    const Totals all = totals();
    fmt::print("# {:<20} : {:g} {}\n# {:<20} : {:g} \n", "Out of bounds values",
               all.wrong, all.wrong == 0 ? "OK" : "FAILED", "Avg bus bandwidth",
               all.bus_bandwidth);
    const Row& last = rows_.back();
    const auto& [read, copy, add] = last.limit;
    fmt::print("# Memory limit per rank at {} bytes: ", last.bytes);
    if (options_.device == Device::kCpu) {
      fmt::print("read {:.1f}, copy {:.1f}, add {:.1f} GB/s\n", read / 1e9,
                 copy / 1e9, add / 1e9);
    } else {
      fmt::print("copy {:.1f} GB/s\n", copy / 1e9);
    }
    for (const CostModel& model : models_) {
      fmt::print("{}\n", describe(model));
      for (const Row& row : rows_) {
        if (row.backend != model.backend) continue;
        fmt::print("#  {:>11} bytes: expected {} us, measured {} us\n",
                   row.bytes, number(model.expected(row.bytes) * kMicro, 9),
                   number(row.seconds() * kMicro, 9));
      }
      if (options_.predict_ranks > 0) {
        fmt::print("{}\n", prediction(model, options_));
      }
    }
    if (options_.predict_ranks > 0 && models_.empty()) {
      fmt::print(
          "# No prediction: expected all-reduce by one of our algorithms at "
          "three sizes or more.\n");
    }
    if (any_useless()) {
      fmt::print("# The machine was too noisy for rows marked useless.\n");
    }
  }
  if (options_.format == Format::kJson) fmt::print("{}\n", json());
  if (options_.json_file.empty()) return;
  std::ofstream file(options_.json_file);
  file << json() << '\n';
  if (!file.flush()) {
    throw Error(fmt::format("-J: cannot write {}", options_.json_file));
  }
}

}  // namespace ringlet
