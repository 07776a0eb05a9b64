#pragma once

#include <cstddef>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "engine/io/safetensors.h"

namespace ringlet {

// A point of a run from which it can go on, in a folder of its own:
//
//   checkpoints/step-140/model.safetensors
//                        optimizer.safetensors
//                        manifest.json
//
// The manifest holds size and SHA-256 of each file, a short sum of each tensor
// (to name the broken one), what the writer wants to keep of the run, and in
// its first line the SHA-256 of all its bytes after that line. The folder is
// written as step-140.tmp, each file and the folder fsynced, and renamed: at
// any moment a crash leaves the old checkpoints, or those and the new one.

struct CheckpointFile {
  std::string name;  // "model.safetensors"
  std::vector<NamedTensor> tensors;
  Metadata metadata;
};

// What is kept of the run beside tensors.
struct CheckpointState {
  std::size_t step = 0;
  std::optional<double> score;  // the higher, the better; where it is known
  nlohmann::ordered_json more;
};

// One that was read, and whose files are those that were written.
struct Checkpoint {
  std::filesystem::path folder;
  std::string sha256;  // of its manifest, and so of all of it
  CheckpointState state;
};

// All checkpoints of a run.
class CheckpointFolder {
 public:
  explicit CheckpointFolder(std::filesystem::path path)
      : path_(std::move(path)) {}

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path of_step(std::size_t step) const;

  // Writes one, in the place of one of the same step; returns its folder.
  // Throws an Error with path, reason and the bytes it takes; nothing
  // half-written is then left. Cost: two SHA-256 of all tensors, and the disk's
  // speed.
  std::filesystem::path save(const std::vector<CheckpointFile>& files,
                             const CheckpointState& state) const;

  // Removes all but the newest `count` and the (newest) one of the highest
  // score, and what interrupted writes and removals left. Folders without a
  // readable manifest stay.
  void prune(std::size_t count) const;

  // The newest that is whole. Adds to `rejected` why newer ones are not.
  // Throws an Error with all reasons where none is.
  Checkpoint newest(std::vector<std::string>& rejected) const;

  std::vector<std::size_t> steps() const;  // of all folders, the newest first

  // Renames those of later steps to step-N.old: a run that goes on from `step`
  // must not find them later. Returns their new names.
  std::vector<std::filesystem::path> set_aside_after(std::size_t step) const;

 private:
  void remove_unfinished() const;

  std::filesystem::path path_;
};

// Reads the manifest and compares every byte of every file with it. Throws an
// Error that names file, tensor and what was expected.
Checkpoint read_checkpoint(const std::filesystem::path& folder);

}  // namespace ringlet
