#include "collectives/algorithm_table.h"

#include <vector>

#include "kernels/runtime/error.h"
#include "support/catch.h"
#include "support/files.h"

namespace ringlet {
namespace {

using Choices = std::vector<AlgorithmChoice>;

const Choices kChoices{{4, 100, "ring", 64},
                       {2, 0, "mpi"},
                       {4, 0, "recursive_doubling", 32},
                       {2, 8, "ring", 16}};

TEST_CASE("the choices for a number of ranks rise by size") {
  const AlgorithmTable table(kChoices, "test");
  CHECK(table.for_ranks(2) == Choices{kChoices[1], kChoices[3]});
  CHECK(table.for_ranks(4) == Choices{kChoices[2], kChoices[0]});
}

TEST_CASE("other numbers of ranks take the row below, or the first") {
  const AlgorithmTable table(kChoices, "test");
  CHECK(table.for_ranks(1) == table.for_ranks(2));
  CHECK(table.for_ranks(3) == table.for_ranks(2));
  CHECK(table.for_ranks(64) == table.for_ranks(4));
}

TEST_CASE("the built-in table has a choice for every world") {
  using Place = AlgorithmTable::Place;
  const Place place = GENERATE(Place::kSharedMemory, Place::kOneHost,
                               Place::kHosts, Place::kHostsOfSeveral);
  for (int ranks = 1; ranks <= 9; ++ranks) {
    const Choices choices = AlgorithmTable::built_in(place).for_ranks(ranks);
    CHECK(choices.front().from_bytes == 0);
    CHECK(choices.front().ranks <= ranks);
  }
}

TEST_CASE("a table goes through its file") {
  const testing::TemporaryFolder folder;
  const auto file = folder.path() / "table.json";
  const AlgorithmTable table(kChoices, "test");
  testing::write_file(file, table.to_json());
  const AlgorithmTable read = AlgorithmTable::read(file);
  CHECK(read.for_ranks(2) == table.for_ranks(2));
  CHECK(read.for_ranks(4) == table.for_ranks(4));
}

void check_refused(const Choices& choices, const std::string& reason) {
  CHECK_THROWS_WITH(AlgorithmTable(choices, "t"), ContainsSubstring(reason));
}

TEST_CASE("what makes no table is refused") {
  check_refused({}, "t: no choices");
  check_refused({{2, 1, "mpi"}},
                "the choices for 2 ranks begin at 1 bytes, expected 0");
  check_refused({{2, 0, "mpi"}, {2, 0, "ring"}},
                "two choices for 2 ranks from 0 bytes on");
  check_refused({{0, 0, "mpi"}}, "a choice for 0 ranks, expected 1 or more");
  check_refused({{1, 0, "star"}}, "unknown algorithm 'star', expected mpi, ");
  check_refused({{1, 0, "ring", 7}},
                "t: a slice of 7 bytes, expected 8 to 1073741824");
  check_refused({{1, 0, "ring", (1 << 30) + 1}}, "a slice of 1073741825 bytes");
}

TEST_CASE("a file that is no table is refused by name") {
  const testing::TemporaryFolder folder;
  const auto file = folder.path() / "table.json";
  CHECK_THROWS_WITH(
      AlgorithmTable::read(file),
      ContainsSubstring("cannot read") && ContainsSubstring("table.json"));
  for (const char* text :
       {"", "[]", "{\"choices\": 1}", "{\"choices\": [{\"ranks\": 1}]}",
        "{\"choices\": [{\"ranks\": \"one\", \"from_bytes\": 0, "
        "\"algorithm\": \"mpi\"}]}",
        "{\"choices\": [{\"ranks\": 4294967297, \"from_bytes\": 0, "
        "\"algorithm\": \"mpi\"}]}",
        "{\"choices\": [{\"ranks\": 1, \"from_bytes\": 0.5, "
        "\"algorithm\": \"mpi\"}]}",
        "{\"choices\": [{\"ranks\": 1, \"from_bytes\": 0, "
        "\"algorithm\": \"ring\", \"slice_bytes\": -1}]}"}) {
    testing::write_file(file, text);
    CHECK_THROWS_WITH(
        AlgorithmTable::read(file),
        ContainsSubstring("table.json is no table of algorithms"));
  }
}

}  // namespace
}  // namespace ringlet
