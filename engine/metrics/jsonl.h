#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>

#include "engine/metrics/log_file.h"

namespace ringlet {

// A file of JSON lines: one object per line.
class JsonLines {
 public:
  // Opens `path` to append to it; throws an Error that names it.
  explicit JsonLines(const std::filesystem::path& path);

  // Writes `object` and a newline. JSON has no NaN and no infinity: they
  // become null. Throws an Error with path and reason, on a full disk say.
  void write(const nlohmann::ordered_json& object);

 private:
  LogFile file_;
};

}  // namespace ringlet
