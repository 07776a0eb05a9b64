#include "engine/metrics/jsonl.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string>

#include "kernels/runtime/error.h"

namespace ringlet {
namespace {

[[noreturn]] void fail(const std::filesystem::path& path, const char* what) {
  throw Error(fmt::format("{}: cannot {}: {}", path.string(), what,
                          std::strerror(errno)));
}

}  // namespace

JsonLines::JsonLines(const std::filesystem::path& path)
    : path_(path), file_(std::fopen(path.c_str(), "ae"), &std::fclose) {
  if (file_ == nullptr) fail(path_, "open");
}

void JsonLines::write(const nlohmann::ordered_json& object) {
  const std::string line =
      object.dump(-1, ' ', false,
                  nlohmann::ordered_json::error_handler_t::replace) +
      "\n";
  const bool written =
      std::fwrite(line.data(), 1, line.size(), file_.get()) == line.size();
  if (!written || std::fflush(file_.get()) != 0) fail(path_, "write");
}

}  // namespace ringlet
