#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/io/checkpoint.h"
#include "engine/io/run_directory.h"
#include "engine/nn/module.h"
#include "engine/optim/sgd.h"
#include "engine/optim/weight_average.h"
#include "engine/train/options.h"
#include "engine/train/position.h"

namespace ringlet {

// A checkpoint's weights with which training goes on, and, where weights are
// averaged, those that were evaluated.
inline constexpr const char* kModelFile = "model.safetensors";
inline constexpr const char* kAverageFile = "ema.safetensors";

// Writes the checkpoints of a run; used by rank 0, whose values are
// everybody's.
class Checkpointer {
 public:
  // `options` are those that a resumed run starts from, `metadata` what the
  // weights' files say of themselves. The rest must outlive this; `average` may
  // be null.
  Checkpointer(const RunDirectory& directory, const TrainOptions& options,
               const Module& model, const SGD& optimizer,
               const WeightAverage* average, Metadata metadata = {});

  // Throws an Error where it cannot be written; the run can go on without.
  void save(const TrainPosition& position, std::optional<double> accuracy);

 private:
  const RunDirectory& directory_;
  TrainOptions options_;
  Metadata metadata_;
  const Module& model_;
  const SGD& optimizer_;
  const WeightAverage* average_;
  CheckpointFolder folder_;
};

// Where a run can go on.
struct ResumePoint {
  std::filesystem::path run;
  std::filesystem::path checkpoint;
  std::string sha256;  // of all of it
  TrainOptions options;
  TrainPosition position;
  std::size_t metrics_bytes;          // of metrics.jsonl, written by then
  std::vector<std::string> rejected;  // newer checkpoints, and what is wrong
};

// `path` is the folder of a run, whose newest whole checkpoint counts, or that
// of one of its checkpoints. Throws an Error where there is none.
ResumePoint find_resume_point(const std::filesystem::path& path);

// Loads parameters, buffers and momentum, and their average where `average` is
// not null; that starts here where the checkpoint has none.
void restore(const ResumePoint& point, Module& model, const SGD& optimizer,
             const WeightAverage* average);

}  // namespace ringlet
