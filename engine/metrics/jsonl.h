#pragma once

#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>

namespace ringlet {

// A file of JSON lines: one object per line, in the hands of the system after
// each write(), so that a killed run loses no finished line.
class JsonLines {
 public:
  // Opens `path` to append to it; throws an Error that names it.
  explicit JsonLines(const std::filesystem::path& path);

  // Writes `object` and a newline. JSON has no NaN and no infinity: they
  // become null. Throws an Error with path and reason, on a full disk say.
  void write(const nlohmann::ordered_json& object);

 private:
  std::filesystem::path path_;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;
};

}  // namespace ringlet
