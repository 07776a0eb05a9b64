#include <fmt/ranges.h>

#include <bit>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "apps/cli.h"
#include "apps/commands.h"
#include "collectives/schedule_trace.h"
#include "kernels/runtime/check.h"

// `ringlet explain ring -n 4`: who sends what to whom in each step of an
// all-reduce, and whose contributions each rank then holds. Nothing is sent.

namespace ringlet {
namespace {

using nlohmann::ordered_json;

struct Options {
  std::string algorithm = "ring";
  int ranks = 4;
  std::size_t count = 0;  // 0: two elements per rank
  bool json = false;
};

std::vector<int> ranks_in(std::uint64_t bits) {
  std::vector<int> ranks;
  for (; bits != 0; bits &= bits - 1) ranks.push_back(std::countr_zero(bits));
  return ranks;
}

// "0-3", "1+4", "all".
std::string contributions(std::uint64_t bits, int ranks) {
  if (std::popcount(bits) == ranks) return "all";
  std::vector<std::string> runs;
  const std::vector<int> members = ranks_in(bits);
  for (std::size_t i = 0; i < members.size();) {
    std::size_t end = i + 1;
    while (end < members.size() && members[end] == members[end - 1] + 1) ++end;
    runs.push_back(
        end - i < 3
            ? fmt::format(
                  "{}",
                  fmt::join(members.begin() + static_cast<long>(i),
                            members.begin() + static_cast<long>(end), "+"))
            : fmt::format("{}-{}", members[i], members[end - 1]));
    i = end;
  }
  return fmt::format("{}", fmt::join(runs, "+"));
}

void print_holdings(const TracedStep& step, int ranks) {
  std::size_t width = 0;
  std::vector<std::vector<std::string>> cells;
  for (const auto& chunks : step.holdings) {
    cells.emplace_back();
    for (const std::uint64_t bits : chunks) {
      cells.back().push_back(contributions(bits, ranks));
      width = std::max(width, cells.back().back().size());
    }
  }
  for (std::size_t rank = 0; rank < cells.size(); ++rank) {
    fmt::print("    rank {:<3}", rank);
    for (const std::string& cell : cells[rank]) {
      fmt::print(" | {:<{}}", cell, width);
    }
    fmt::print(" |\n");
  }
}

void print_text(const Options& options, const std::vector<TracedStep>& trace) {
  fmt::print(
      "{}, {} ranks, {} elements, {} steps. Below each step: whose "
      "contributions\nare in each chunk that a rank holds.\n",
      options.algorithm, options.ranks, options.count, trace.size());
  for (const TracedStep& step : trace) {
    fmt::print("\nstep {}, {}\n", step.step, name_of(step.phase));
    for (const TracedMessage& m : step.messages) {
      fmt::print("    {} -> {}  chunk {} [{}, {}){}\n", m.from, m.to, m.chunk,
                 m.range.begin, m.range.end(), m.combined ? ", added" : "");
    }
    print_holdings(step, options.ranks);
  }
}

ordered_json as_json(const Options& options,
                     const std::vector<TracedStep>& trace) {
  ordered_json document{{"algorithm", options.algorithm},
                        {"ranks", options.ranks},
                        {"count", options.count},
                        {"steps", ordered_json::array()}};
  for (const TracedStep& step : trace) {
    ordered_json messages = ordered_json::array();
    for (const TracedMessage& m : step.messages) {
      messages.push_back({{"from", m.from},
                          {"to", m.to},
                          {"chunk", m.chunk},
                          {"begin", m.range.begin},
                          {"count", m.range.count},
                          {"combined", m.combined}});
    }
    ordered_json holdings = ordered_json::array();
    for (const auto& chunks : step.holdings) {
      ordered_json of_rank = ordered_json::array();
      for (const std::uint64_t bits : chunks) of_rank.push_back(ranks_in(bits));
      holdings.push_back(of_rank);
    }
    document["steps"].push_back({{"step", step.step},
                                 {"phase", name_of(step.phase)},
                                 {"messages", messages},
                                 {"contributions_after", holdings}});
  }
  return document;
}

}  // namespace

int explain_command(int argc, char** argv) {
  Options o;
  CLI::App app(
      "Draws an all-reduce step by step: who sends which chunk to whom, and "
      "whose contributions each rank then holds. Sends nothing.",
      "ringlet explain");
  app.option_defaults()->always_capture_default();
  app.add_option("algorithm", o.algorithm, "Which one")
      ->check(CLI::IsMember(schedule_names()));
  app.add_option("-n,--ranks", o.ranks, "World size")
      ->check(whole_number(1, 64));
  app.add_option("--count", o.count, "Elements of each rank's array")
      ->check(whole_number(0))
      ->default_str("2 per rank");
  app.add_flag("--json", o.json, "As JSON");
  if (!parse_or_help(app, argc, argv)) return 0;
  if (o.count == 0) o.count = 2 * static_cast<std::size_t>(o.ranks);
  const auto trace = trace_schedule(o.algorithm, o.ranks, o.count);
  if (o.json) {
    fmt::print("{}\n", as_json(o, trace).dump(1));
  } else {
    print_text(o, trace);
  }
  return 0;
}

}  // namespace ringlet
