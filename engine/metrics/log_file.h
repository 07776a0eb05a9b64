#pragma once

#include <cstdio>
#include <filesystem>
#include <memory>
#include <string_view>

namespace ringlet {

// A file that grows by records, each in the hands of the system after write(),
// so that a killed run loses no whole one.
class LogFile {
 public:
  // Opens `path` to append to it; throws an Error that names it.
  explicit LogFile(const std::filesystem::path& path);

  // Throws an Error with path and reason, on a full disk say.
  void write(std::string_view record);

 private:
  std::filesystem::path path_;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;
};

}  // namespace ringlet
