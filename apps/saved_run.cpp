#include "apps/saved_run.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <fstream>
#include <nlohmann/json.hpp>

#include "kernels/runtime/error.h"

namespace ringlet {
namespace {

bool same(double a, double b) {
  return std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b);
}

// Of the parameters, which stand in the order in which backward() comes to
// them.
std::string parameters_that_differ(const std::vector<std::string>& names,
                                   const std::vector<std::uint32_t>& a,
                                   const std::vector<std::uint32_t>& b) {
  std::size_t count = 0, first = 0;
  for (std::size_t i = a.size(); i-- > 0;) {
    if (a[i] == b[i]) continue;
    ++count;
    first = i;
  }
  if (count == 0) return "the same";
  return fmt::format("{} of {} differ, in backward's order first '{}'", count,
                     a.size(), names[first]);
}

}  // namespace

SavedRun read_saved_run(const std::filesystem::path& path) {
  SavedRun run;
  run.path = path;
  const std::filesystem::path config = path / "config.json";
  std::ifstream file(config);
  if (!file) {
    throw Error(fmt::format("{}: cannot be read, expected the folder of a run",
                            config.string()));
  }
  try {
    auto options = nlohmann::ordered_json::parse(file).at("options");
    run.ranks = options.at("ranks").get<std::size_t>();
    options.erase("ranks");
    run.options = options_from_json(options);
  } catch (const std::exception& error) {
    throw Error(fmt::format("{}: {}", config.string(), error.what()));
  }
  run.hashes = read_hashes(path / "hashes.bin");
  return run;
}

bool same_bits(const StepHashes& a, const StepHashes& b) {
  return a.data == b.data && same(a.loss, b.loss) &&
         a.gradients == b.gradients && a.weights == b.weights;
}

std::string where_they_part(std::size_t same, std::size_t step) {
  if (step <= same + 1) return fmt::format("step {}", step);
  return fmt::format("one of steps {} to {}", same + 1, step);
}

std::string describe_difference(const SavedRun& run, const StepHashes& a,
                                const StepHashes& b) {
  std::string text;
  const auto line = [&](const char* subject, const std::string& what) {
    text += fmt::format("  {:<10} {}\n", subject, what);
  };
  line("data",
       a.data == b.data ? "the same" : "other pictures, or another order");
  line("loss", same(a.loss, b.loss)
                   ? "the same"
                   : fmt::format("{:.9g} and {:.9g}", a.loss, b.loss));
  line("gradients",
       parameters_that_differ(run.hashes.parameters, a.gradients, b.gradients));
  line("weights",
       parameters_that_differ(run.hashes.parameters, a.weights, b.weights));
  if (a.shards.empty() || a.shards.size() != b.shards.size()) return text;
  const char* who = run.options.virtual_ranks > 0 ? "virtual rank" : "rank";
  std::vector<std::string> losses, gradients;
  for (std::size_t i = 0; i < a.shards.size(); ++i) {
    // Passes of a rank stand one after the other.
    const std::size_t rank =
        i / std::max<std::size_t>(1, run.options.accumulate);
    const auto add = [&](std::vector<std::string>& list) {
      const std::string name = fmt::format("{} {}", who, rank);
      if (list.empty() || list.back() != name) list.push_back(name);
    };
    if (!same(a.shards[i].loss, b.shards[i].loss)) add(losses);
    const std::uint64_t one = a.shards[i].gradients;
    const std::uint64_t other = b.shards[i].gradients;
    if (one != 0 && other != 0 && one != other) add(gradients);
  }
  if (!losses.empty()) {
    line("first on", fmt::format("{} (loss)", fmt::join(losses, ", ")));
  } else if (!gradients.empty()) {
    line("first on", fmt::format("{} (gradients)", fmt::join(gradients, ", ")));
  }
  return text;
}

}  // namespace ringlet
