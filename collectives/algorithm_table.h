#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

namespace ringlet {

// From `from_bytes` on, `ranks` ranks take this all-reduce.
struct AlgorithmChoice {
  int ranks;
  std::size_t from_bytes;             // of a rank's array
  std::string algorithm;              // "mpi", or one of algorithm_names()
  std::size_t slice_bytes = 1 << 20;  // of ours

  bool operator==(const AlgorithmChoice&) const = default;
};

// Which all-reduce "auto" takes for which size: data, not guesses at run time,
// so that two runs with the same table take the same path. Written by
// `allreduce_perf --tune=FILE` for a machine, or the one that is built in.
//
// As a file it is JSON, for people to read and change:
//
//   {"choices": [
//     {"ranks": 2, "from_bytes": 0, "algorithm": "mpi"},
//     {"ranks": 2, "from_bytes": 8388608, "algorithm": "ring",
//      "slice_bytes": 262144}]}
class AlgorithmTable {
 public:
  // Throws Error where the choices make no table: an unknown algorithm, a slice
  // below 8 bytes, two choices for one size, ranks without a choice for 0
  // bytes, or none at all. `source` is what the message calls it.
  AlgorithmTable(std::vector<AlgorithmChoice> choices,
                 const std::string& source);

  // Where the ranks of a job are: on one host, with memory in common or not; on
  // several hosts, one on each or as many on each.
  enum class Place { kSharedMemory, kOneHost, kHosts, kHostsOfSeveral };
  // What was found best on one host with two cores, and on four emulated ones
  // with links of 1 Gbit/s, under Open MPI 4.1.
  static const AlgorithmTable& built_in(Place place);

  // Throws Error with the file's name where it cannot be read or is no table.
  static AlgorithmTable read(const std::filesystem::path& file);
  std::string to_json() const;

  // What `ranks` ranks take, by rising from_bytes; the first is from 0 on.
  // Where the table has not that many ranks, it is the row of the largest
  // number below, or else of the smallest.
  std::vector<AlgorithmChoice> for_ranks(int ranks) const;
  // By rising ranks, then from_bytes.
  const std::vector<AlgorithmChoice>& all() const { return choices_; }

 private:
  std::vector<AlgorithmChoice> choices_;
};

}  // namespace ringlet
