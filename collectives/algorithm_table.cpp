#include "collectives/algorithm_table.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <tuple>

#include "collectives/algorithm_communicator.h"
#include "kernels/runtime/check.h"

namespace ringlet {
namespace {

using nlohmann::ordered_json;

constexpr const char* kMpi = "mpi";

void check_choice(const AlgorithmChoice& choice, const std::string& source) {
  const auto& ours = algorithm_names();
  RINGLET_CHECK(choice.ranks >= 1,
                "{}: a choice for {} ranks, expected 1 or "
                "more",
                source, choice.ranks);
  RINGLET_CHECK(
      choice.algorithm == kMpi ||
          std::find(ours.begin(), ours.end(), choice.algorithm) != ours.end(),
      "{}: unknown algorithm '{}', expected mpi, {}", source, choice.algorithm,
      fmt::join(ours, ", "));
  check_slice_bytes(choice.slice_bytes, source);
}

ordered_json to_object(const AlgorithmChoice& choice) {
  ordered_json object{{"ranks", choice.ranks},
                      {"from_bytes", choice.from_bytes},
                      {"algorithm", choice.algorithm}};
  if (choice.algorithm != kMpi) object["slice_bytes"] = choice.slice_bytes;
  return object;
}

std::size_t to_count(const ordered_json& object, const char* name,
                     std::size_t most) {
  const ordered_json& value = object.at(name);
  if (value.is_number_unsigned() && value <= most) return value;
  throw Error(fmt::format("{} is {}, expected a whole number from 0 to {}",
                          name, value.dump(), most));
}

AlgorithmChoice to_choice(const ordered_json& object) {
  constexpr std::size_t kMostRanks = std::numeric_limits<int>::max();
  constexpr std::size_t kMostBytes = std::numeric_limits<std::int64_t>::max();
  AlgorithmChoice choice{
      static_cast<int>(to_count(object, "ranks", kMostRanks)),
      to_count(object, "from_bytes", kMostBytes),
      object.at("algorithm").get<std::string>()};
  if (object.contains("slice_bytes")) {
    choice.slice_bytes = to_count(object, "slice_bytes", kMostBytes);
  }
  return choice;
}

}  // namespace

AlgorithmTable::AlgorithmTable(std::vector<AlgorithmChoice> choices,
                               const std::string& source)
    : choices_(std::move(choices)) {
  const auto place = [](const AlgorithmChoice& choice) {
    return std::tuple(choice.ranks, choice.from_bytes);
  };
  std::sort(choices_.begin(), choices_.end(),
            [&](const auto& a, const auto& b) { return place(a) < place(b); });
  RINGLET_CHECK(!choices_.empty(), "{}: no choices", source);
  for (std::size_t i = 0; i < choices_.size(); ++i) {
    const AlgorithmChoice& choice = choices_[i];
    check_choice(choice, source);
    const bool first = i == 0 || choices_[i - 1].ranks != choice.ranks;
    RINGLET_CHECK(!first || choice.from_bytes == 0,
                  "{}: the choices for {} ranks begin at {} bytes, expected 0",
                  source, choice.ranks, choice.from_bytes);
    RINGLET_CHECK(first || place(choices_[i - 1]) != place(choice),
                  "{}: two choices for {} ranks from {} bytes on", source,
                  choice.ranks, choice.from_bytes);
  }
}

const AlgorithmTable& AlgorithmTable::built_in(Place place) {
  constexpr const char* kName = "the built-in table";
  constexpr std::size_t kKiB = 1 << 10, kMiB = 1 << 20;
  static const AlgorithmTable memory({{1, 0, "shared"}}, kName);
  static const AlgorithmTable hosts(
      {{1, 0, "mpi"}, {1, kMiB, "ring", 256 * kKiB}}, kName);
  static const AlgorithmTable hosts_of_several(
      {{1, 0, "mpi"}, {1, kMiB, "hierarchical", kMiB}}, kName);
  static const AlgorithmTable one_host(
      {{1, 0, "mpi"},
       {2, 0, "mpi"},
       {2, 16 * kMiB, "ring", 256 * kKiB},
       {2, 32 * kMiB, "ring", kMiB},
       {3, 0, "mpi"},
       {3, 16 * kKiB, "recursive_doubling", kMiB},
       {3, 128 * kKiB, "mpi"},
       {3, 256 * kKiB, "ring", 256 * kKiB},
       {3, 8 * kMiB, "ring", kMiB},
       {4, 0, "mpi"},
       {4, 16 * kMiB, "ring", kMiB},
       {8, 0, "mpi"},
       {8, 4 * kMiB, "ring", kMiB}},
      kName);
  switch (place) {
    case Place::kSharedMemory:
      return memory;
    case Place::kHosts:
      return hosts;
    case Place::kHostsOfSeveral:
      return hosts_of_several;
    case Place::kOneHost:
      break;
  }
  return one_host;
}

AlgorithmTable AlgorithmTable::read(const std::filesystem::path& file) {
  std::ifstream in(file);
  if (!in) {
    throw Error(
        fmt::format("cannot read the table of algorithms {}", file.string()));
  }
  const std::string text(std::istreambuf_iterator<char>(in), {});
  std::vector<AlgorithmChoice> choices;
  try {
    const ordered_json table = ordered_json::parse(text);
    for (const ordered_json& object : table.at("choices")) {
      choices.push_back(to_choice(object));
    }
  } catch (const std::exception& error) {
    throw Error(fmt::format(
        "{} is no table of algorithms: {}; expected what allreduce_perf --tune "
        "writes",
        file.string(), error.what()));
  }
  return AlgorithmTable(std::move(choices), file.string());
}

std::string AlgorithmTable::to_json() const {
  ordered_json rows = ordered_json::array();
  for (const AlgorithmChoice& choice : choices_) {
    rows.push_back(to_object(choice));
  }
  return ordered_json{{"choices", rows}}.dump(1);
}

std::vector<AlgorithmChoice> AlgorithmTable::for_ranks(int ranks) const {
  int row = choices_.front().ranks;
  for (const AlgorithmChoice& choice : choices_) {
    if (choice.ranks <= ranks) row = choice.ranks;
  }
  std::vector<AlgorithmChoice> found;
  std::copy_if(choices_.begin(), choices_.end(), std::back_inserter(found),
               [&](const auto& choice) { return choice.ranks == row; });
  return found;
}

}  // namespace ringlet
