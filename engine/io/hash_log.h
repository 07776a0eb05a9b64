#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace ringlet {

// What a training step was, so that two runs can be compared step by step.
struct StepHashes {
  // Of one rank, or one virtual rank.
  struct Shard {
    double loss;
    std::uint64_t gradients;  // 52 bits, of a part of each; 0: not known
  };

  std::uint64_t step = 0;     // from 1
  std::uint64_t data = 0;     // the set, the order, and whether augmented
  double loss = 0;            // over the global batch
  double gradient_norm = 0;   // of the sum over the ranks
  std::vector<Shard> shards;  // empty for a step that a GPU did by itself
  // Of each parameter: its gradient, summed (and as LARS has adapted it), and
  // its value after the step.
  std::vector<std::uint32_t> gradients, weights;
};

// The file RUN/hashes.bin:
//
//   {"ringlet_hashes": 1, "parameters": ["conv1.weight", ...]}\n
//   a record per step: u32 bytes of all of it, u32 shards, u64 step, u64 data,
//     f64 loss, f64 gradient norm, {f64 loss, u64 gradients} per shard,
//     u32 gradient per parameter, u32 weight per parameter, u64 chain
//
// in little endian. The chain hashes the record before it and that record's
// chain: where it is equal, all that came before is.
class HashLog {
 public:
  // Appends to `path`, behind what was written up to `steps_done`; what comes
  // after that is cut off, and so is what comes after a broken record. Throws
  // an Error that names the file where it is of other parameters.
  HashLog(const std::filesystem::path& path,
          const std::vector<std::string>& parameters, std::size_t steps_done);

  // Throws an Error with path and reason, on a full disk say.
  void write(const StepHashes& step);

 private:
  std::filesystem::path path_;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;
  std::uint64_t chain_ = 0;
};

struct HashChain {
  struct Link {
    StepHashes hashes;
    std::uint64_t chain;
  };

  std::vector<std::string> parameters;
  std::vector<Link> steps;
};

// Throws an Error that names the file and what is wrong with it. A record that
// a killed run left half-written at the end is not there.
HashChain read_hashes(const std::filesystem::path& path);

}  // namespace ringlet
