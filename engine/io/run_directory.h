#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

namespace ringlet {

// The machine a run ran on.
struct HostInfo {
  std::string hostname;
  std::string cpu_model;  // "unknown" where the system does not tell
  int cores = 0;          // logical processors that are online
};
HostInfo host_info();

// What a run was built from, each as its maker writes it ("12.2.0").
struct Versions {
  std::string ringlet;
  std::string compiler;
  std::string onednn;
  std::string mpi;
  std::string gpu = {};  // and what drives it; empty: none was used
};

// A file that one process at a time can hold: who, stands in it. The kernel
// lets go of it when the process ends, however that happens.
class FileLock {
 public:
  // Throws an Error that names the holder where somebody has it.
  explicit FileLock(std::filesystem::path path);
  ~FileLock();  // removes the file
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  std::filesystem::path path_;
  int file_ = -1;
};

// The folder that holds one run: config.json, metrics.jsonl, hashes.bin,
// checkpoints and the final weights. A run that ends before it writes any of
// them leaves no folder. Locked for as long as this lives: a second job is
// refused at once.
class RunDirectory {
 public:
  enum class Open {
    kNew,      // must not hold a run: it would mix its metrics with the new one
    kContinue  // holds one, which goes on
  };

  // Makes the folder and its parents. Throws an Error with the path and a way
  // out where that fails, where it cannot be written to, where it is not as
  // `how` says, and where another job is at work there.
  explicit RunDirectory(std::filesystem::path path, Open how = Open::kNew);
  RunDirectory(const RunDirectory&) = delete;
  RunDirectory& operator=(const RunDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path config() const { return path_ / "config.json"; }
  std::filesystem::path metrics() const { return path_ / "metrics.jsonl"; }
  std::filesystem::path hashes() const { return path_ / "hashes.bin"; }
  std::filesystem::path weights() const { return path_ / "model.safetensors"; }
  std::filesystem::path checkpoints() const { return path_ / "checkpoints"; }
  std::filesystem::path tensorboard() const { return path_ / "tensorboard"; }

  // Cuts what metrics.jsonl holds beyond its first `bytes`: what a run wrote
  // after the checkpoint from which it goes on. Ends at a whole line.
  void cut_metrics(std::size_t bytes) const;

  // See read_convolutions().
  void write_convolutions(const std::string& choices) const;

  // Writes config.json, all or nothing:
  // {"options": options, "versions": {...}, "host": {...}}.
  void write_config(const nlohmann::ordered_json& options,
                    const Versions& versions, const HostInfo& host) const;

 private:
  // Those of a path's folders that are missing; removes them, if they are empty
  // then, at the end.
  class NewFolders {
   public:
    explicit NewFolders(const std::filesystem::path& path);
    ~NewFolders();

   private:
    std::vector<std::filesystem::path> paths_;  // the deepest first
  };

  void make() const;
  void refuse_other_run() const;

  std::filesystem::path path_;
  NewFolders new_folders_;
  std::optional<FileLock> lock_;
};

// convolutions.txt in a run's folder: by what a GPU computed each kind of
// convolution, so that a run that goes on does the same
// (kernels/runtime/cuda_library.h). "" where there is none.
std::string read_convolutions(const std::filesystem::path& run);

}  // namespace ringlet
