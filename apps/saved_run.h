#pragma once

#include <filesystem>
#include <string>

#include "engine/io/hash_log.h"
#include "engine/train/options.h"

namespace ringlet {

// What the folder of a run says of how it was trained.
struct SavedRun {
  std::filesystem::path path;
  TrainOptions options;
  std::size_t ranks = 0;
  HashChain hashes;
};

// Throws an Error that names the file and what is wrong with it.
SavedRun read_saved_run(const std::filesystem::path& path);

// Whether two steps had the same pictures, loss, gradients and weights.
bool same_bits(const StepHashes& a, const StepHashes& b);

// In which step the runs part that had the same bits up to step `same` and have
// others in `step`: "step 7", or "one of steps 17 to 32" where only the last of
// those left hashes, as on a GPU.
std::string where_they_part(std::size_t same, std::size_t step);

// Where two steps of `run`, or of it and another like it, differ: as lines of
// text.
std::string describe_difference(const SavedRun& run, const StepHashes& a,
                                const StepHashes& b);

}  // namespace ringlet
