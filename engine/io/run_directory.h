#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>

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
// weights.
class RunDirectory {
 public:
  // Makes the folder and its parents. Throws an Error with the path and a way
  // out where that fails, where it cannot be written to, and where it holds a
  // run already: a second run would mix its metrics with those of the first.
  explicit RunDirectory(std::filesystem::path path);

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path config() const { return path_ / "config.json"; }
  std::filesystem::path metrics() const { return path_ / "metrics.jsonl"; }
  std::filesystem::path weights() const { return path_ / "model.safetensors"; }

  // Writes config.json, all or nothing:
  // {"options": options, "versions": {...}, "host": {...}}.
  void write_config(const nlohmann::ordered_json& options,
                    const Versions& versions, const HostInfo& host) const;

 private:
  std::filesystem::path path_;
};

}  // namespace ringlet
