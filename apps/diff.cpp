#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "apps/cli.h"
#include "apps/commands.h"
#include "apps/saved_run.h"
#include "kernels/runtime/error.h"

namespace ringlet {
namespace {

// Where a run was, not what it computed.
bool matters(const std::string& option) {
  for (const char* place :
       {"out", "resume", "trace", "log_every", "tensorboard"}) {
    if (option == place) return false;
  }
  return true;
}

void print_options(const SavedRun& a, const SavedRun& b) {
  const auto of_a = to_json(a.options), of_b = to_json(b.options);
  const auto print = [](const std::string& name, const std::string& one,
                        const std::string& other) {
    fmt::print("  {:<20} {:<20} {}\n", name, one, other);
  };
  if (a.ranks != b.ranks) {
    print("ranks", std::to_string(a.ranks), std::to_string(b.ranks));
  }
  for (const auto& [name, value] : of_a.items()) {
    if (!matters(name) || value == of_b.at(name)) continue;
    print(name, value.dump(), of_b.at(name).dump());
  }
}

}  // namespace

int diff_command(int argc, char** argv) {
  std::string one, other;
  CLI::App app(
      "Compares two runs by the hashes that each step left in hashes.bin, and "
      "says\nwhere they part first: in which step, layer and rank. Status 0 if "
      "they are the\nsame to the bit as far as both go, 1 if not.",
      "ringlet diff");
  app.add_option("RUN_A", one, "Folder of a run")->required();
  app.add_option("RUN_B", other, "Folder of another")->required();
  if (!parse_or_help(app, argc, argv)) return 0;
  const SavedRun a = read_saved_run(one), b = read_saved_run(other);
  if (a.hashes.parameters != b.hashes.parameters) {
    throw Error(fmt::format(
        "{} and {}: of different models, {} and {}: expected the same", one,
        other, a.options.model, b.options.model));
  }
  fmt::print("{}: {} steps; {}: {} steps\n", one, a.hashes.steps.size(), other,
             b.hashes.steps.size());
  print_options(a, b);
  // A GPU leaves hashes of some steps only.
  std::size_t i = 0, j = 0, compared = 0, same_up_to = 0;
  while (i < a.hashes.steps.size() && j < b.hashes.steps.size()) {
    const StepHashes& left = a.hashes.steps[i].hashes;
    const StepHashes& right = b.hashes.steps[j].hashes;
    if (left.step < right.step) {
      ++i;
    } else if (left.step > right.step) {
      ++j;
    } else {
      if (!same_bits(left, right)) {
        fmt::print("they part in {}:\n{}",
                   where_they_part(same_up_to, left.step),
                   describe_difference(a, left, right));
        return 1;
      }
      same_up_to = left.step;
      ++i, ++j, ++compared;
    }
  }
  if (compared == 0) {
    throw Error(fmt::format("{} and {} have no step in common", one, other));
  }
  fmt::print(
      "the same in all {} steps that both have: pictures, gradients and "
      "weights, to the bit\n",
      compared);
  return 0;
}

}  // namespace ringlet
