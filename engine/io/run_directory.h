#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
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
};

// The folder that holds one run: config.json, metrics.jsonl and the final
// weights. A run that ends before it writes any of them leaves no folder.
class RunDirectory {
 public:
  // Makes the folder and its parents. Throws an Error with the path and a way
  // out where that fails, where it cannot be written to, and where it holds a
  // run already: a second run would mix its metrics with those of the first.
  explicit RunDirectory(std::filesystem::path path);
  RunDirectory(const RunDirectory&) = delete;
  RunDirectory& operator=(const RunDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path config() const { return path_ / "config.json"; }
  std::filesystem::path metrics() const { return path_ / "metrics.jsonl"; }
  std::filesystem::path weights() const { return path_ / "model.safetensors"; }

  // Writes config.json, all or nothing:
  // {"options": options, "versions": {...}, "host": {...}}.
  // Throws, as the constructor does, where another run has begun here since.
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

  void refuse_other_run() const;

  std::filesystem::path path_;
  NewFolders new_folders_;
};

}  // namespace ringlet
