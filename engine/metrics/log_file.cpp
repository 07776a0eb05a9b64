#include "engine/metrics/log_file.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>

#include "kernels/runtime/error.h"

namespace ringlet {
namespace {

[[noreturn]] void fail(const std::filesystem::path& path, const char* what) {
  throw Error(fmt::format("{}: cannot {}: {}", path.string(), what,
                          std::strerror(errno)));
}

}  // namespace

LogFile::LogFile(const std::filesystem::path& path)
    : path_(path), file_(std::fopen(path.c_str(), "ae"), &std::fclose) {
  if (file_ == nullptr) fail(path_, "open");
}

void LogFile::write(std::string_view record) {
  const bool written = std::fwrite(record.data(), 1, record.size(),
                                   file_.get()) == record.size();
  if (!written || std::fflush(file_.get()) != 0) fail(path_, "write");
}

}  // namespace ringlet
