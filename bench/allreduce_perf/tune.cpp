#include "bench/allreduce_perf/tune.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <fstream>

#include "collectives/algorithm_communicator.h"
#include "collectives/algorithm_table.h"
#include "kernels/runtime/check.h"

namespace ringlet {
namespace {

constexpr const char* kMpi = "mpi";

AlgorithmChoice choice_of(const Row& row, std::size_t from_bytes) {
  AlgorithmChoice choice{row.ranks, from_bytes, row.backend};
  const std::size_t colon = row.backend.find(':');
  if (colon != row.backend.npos) {
    choice.algorithm = row.backend.substr(0, colon);
    choice.slice_bytes = parse_bytes(row.backend.substr(colon + 1));
  }
  return choice;
}

// What to take at one size.
const Row& best_of(const std::vector<const Row*>& rows) {
  const Row* best = nullptr;
  for (const Row* row : rows) {
    if (row->backend == kMpi) best = row;
  }
  for (const Row* row : rows) {
    const bool surely = row->ratio.interval.high < 1;
    if (surely && row->ratio.median < best->ratio.median) best = row;
  }
  return *best;
}

}  // namespace

void prepare_tuning(PerfOptions& options) {
  const PerfOptions usual;
  if (options.backends == usual.backends) {
    options.backends = {"mpi", "recursive_doubling", "ring:256K", "ring:1M",
                        "shared"};
  }
  bool mpi = false;
  for (const std::string& backend : options.backends) {
    const std::string name = backend.substr(0, backend.find(':'));
    const auto& ours = algorithm_names();
    mpi |= backend == kMpi;
    const bool as_it_is = backend.find('+') == backend.npos;
    if (backend != kMpi && (!as_it_is || std::find(ours.begin(), ours.end(),
                                                   name) == ours.end())) {
      throw Error(fmt::format(
          "--tune: '{}' among --backends, expected what a table can have: mpi, "
          "{}",
          backend, fmt::join(ours, ", ")));
    }
  }
  if (!mpi) throw Error("--tune: expected mpi among --backends");
  if (options.kind != CollectiveKind::kAllReduce || options.dtypes.size() > 1 ||
      options.ops.size() > 1) {
    throw Error(
        "--tune: expected all_reduce of one datatype by one operation, which a "
        "table is about");
  }
  options.baseline = kMpi;
  if (options.min_bytes == usual.min_bytes &&
      options.max_bytes == usual.max_bytes) {
    options.min_bytes = 4;
    options.max_bytes = 256 << 20;
    options.step_factor = 2;
  }
}

void write_table(const std::filesystem::path& file,
                 const std::vector<Row>& rows) {
  std::vector<AlgorithmChoice> choices;
  const int ranks = rows.front().ranks;
  if (std::filesystem::exists(file)) {
    choices = AlgorithmTable::read(file).all();
    std::erase_if(choices, [&](const AlgorithmChoice& choice) {
      return choice.ranks == ranks;
    });
  }
  std::vector<AlgorithmChoice> found{{ranks, 0, kMpi}};
  for (std::size_t first = 0; first < rows.size();) {
    std::vector<const Row*> at_size;
    const std::size_t bytes = rows[first].bytes;
    for (; first < rows.size() && rows[first].bytes == bytes; ++first) {
      at_size.push_back(&rows[first]);
    }
    const AlgorithmChoice next = choice_of(best_of(at_size), bytes);
    const AlgorithmChoice& last = found.back();
    if (next.algorithm == last.algorithm &&
        (next.algorithm == kMpi || next.slice_bytes == last.slice_bytes)) {
      continue;
    }
    found.push_back(next);
  }
  choices.insert(choices.end(), found.begin(), found.end());
  // The other ranks' choices in the file outlive a full disk.
  const std::filesystem::path written = file.string() + ".tmp";
  std::ofstream out(written);
  out << AlgorithmTable(choices, "--tune").to_json() << '\n';
  out.close();
  std::error_code failed;
  if (out) std::filesystem::rename(written, file, failed);
  if (!out || failed) {
    throw Error(fmt::format("--tune: cannot write {}", file.string()));
  }
}

}  // namespace ringlet
