#include "bench/allreduce_perf/tune.h"

#include <vector>

#include "collectives/algorithm_table.h"
#include "kernels/runtime/error.h"
#include "support/catch.h"
#include "support/files.h"

namespace ringlet {
namespace {

using Choices = std::vector<AlgorithmChoice>;

Row row(int ranks, std::size_t bytes, const std::string& backend, double ratio,
        double high) {
  Row row;
  row.ranks = ranks;
  row.bytes = bytes;
  row.backend = backend;
  row.ratio = {ratio, {2 * ratio - high, high}};
  return row;
}

TEST_CASE("a table takes the fastest that is surely faster than MPI") {
  const testing::TemporaryFolder folder;
  const auto file = folder.path() / "table.json";
  std::vector<Row> rows;
  const auto size = [&](std::size_t bytes, double small, double small_high,
                        double large, double large_high) {
    rows.push_back(row(2, bytes, "mpi", 1, 1));
    rows.push_back(row(2, bytes, "ring:4K", small, small_high));
    rows.push_back(row(2, bytes, "tree", large, large_high));
  };
  size(1000, 1.2, 1.3, 2, 2.5);
  size(2000, 0.9, 1.01, 2, 2.5);  // within what may be chance
  size(4000, 0.9, 0.99, 2, 2.5);
  size(8000, 0.8, 0.85, 0.9, 0.95);  // as before: no row of its own
  size(16000, 0.8, 0.85, 0.7, 0.75);
  size(32000, 1.1, 1.2, 1.1, 1.2);
  write_table(file, rows);
  const Choices expected{{2, 0, "mpi"},
                         {2, 4000, "ring", 4096},
                         {2, 16000, "tree"},
                         {2, 32000, "mpi"}};
  CHECK(AlgorithmTable::read(file).all() == expected);

  // Other numbers of ranks stay, the same one is written anew.
  write_table(file, {row(3, 10, "mpi", 1, 1), row(3, 10, "ring", 0.5, 0.6)});
  write_table(file, {row(2, 10, "mpi", 1, 1), row(2, 10, "ring", 0.5, 0.6)});
  const Choices both{
      {2, 0, "mpi"}, {2, 10, "ring"}, {3, 0, "mpi"}, {3, 10, "ring"}};
  CHECK(AlgorithmTable::read(file).all() == both);
}

TEST_CASE("a table that cannot be written is an error, and nothing is lost") {
  const testing::TemporaryFolder folder;
  CHECK_THROWS_WITH(write_table(folder.path() / "none" / "table.json",
                                {row(2, 10, "mpi", 1, 1)}),
                    ContainsSubstring("--tune: cannot write") &&
                        ContainsSubstring("table.json"));
}

TEST_CASE("what no table can have is not measured for one") {
  const auto refused = [](PerfOptions options, const char* reason) {
    CHECK_THROWS_WITH(prepare_tuning(options), ContainsSubstring(reason));
  };
  PerfOptions options;
  options.backends = {"mpi", "mpi:5"};
  refused(options, "'mpi:5' among --backends, expected what a table can have");
  options.backends = {"ring"};
  refused(options, "expected mpi among --backends");
  options = {};
  options.dtypes = {Dtype::kF32, Dtype::kF64};
  refused(options, "expected all_reduce of one datatype");
  options = {};
  options.kind = CollectiveKind::kBroadcast;
  refused(options, "expected all_reduce of one datatype");
  options = {};
  prepare_tuning(options);
  CHECK(options.baseline == "mpi");
  CHECK(options.max_bytes == std::size_t{256} << 20);
}

}  // namespace
}  // namespace ringlet
