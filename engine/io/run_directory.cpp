#include "engine/io/run_directory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/io/atomic_file.h"
#include "kernels/runtime/check.h"

namespace ringlet {
namespace {

constexpr int kIndent = 2;

// Linux on x86-64 calls it "model name"; elsewhere the line may be missing.
std::string cpu_model() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const std::size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) {
      return line.substr(colon + 2);
    }
  }
  return "unknown";
}

}  // namespace

HostInfo host_info() {
  std::array<char, 256> hostname{};  // POSIX: names have at most 255 bytes
  RINGLET_CHECK(gethostname(hostname.data(), hostname.size() - 1) == 0,
                "gethostname: {}", std::strerror(errno));
  const long cores = sysconf(_SC_NPROCESSORS_ONLN);
  RINGLET_CHECK(cores > 0, "sysconf tells of {} processors", cores);
  return {hostname.data(), cpu_model(), static_cast<int>(cores)};
}

RunDirectory::NewFolders::NewFolders(const std::filesystem::path& path) {
  std::error_code ignored;
  for (auto folder = path;
       !folder.empty() && !std::filesystem::exists(folder, ignored);
       folder = folder.parent_path()) {
    paths_.push_back(folder);
  }
}

RunDirectory::NewFolders::~NewFolders() {
  for (const auto& folder : paths_) ::rmdir(folder.c_str());
}

RunDirectory::RunDirectory(std::filesystem::path path)
    : path_(std::move(path)), new_folders_(path_) {
  std::error_code reason;
  std::filesystem::create_directories(path_, reason);
  if (!reason &&
      ::faccessat(AT_FDCWD, path_.c_str(), W_OK | X_OK, AT_EACCESS) != 0) {
    reason = {errno, std::generic_category()};
  }
  if (reason) {
    throw Error(
        fmt::format("{}: cannot write there: {}; name another run directory",
                    path_.string(), reason.message()));
  }
  refuse_other_run();
}

void RunDirectory::refuse_other_run() const {
  for (const auto& file : {config(), metrics(), weights()}) {
    if (std::filesystem::exists(file)) {
      throw Error(fmt::format(
          "{}: holds a run already ({}); name another run directory or "
          "remove this one",
          path_.string(), file.filename().string()));
    }
  }
}

void RunDirectory::write_config(const nlohmann::ordered_json& options,
                                const Versions& versions,
                                const HostInfo& host) const {
  refuse_other_run();
  const nlohmann::ordered_json document = {{"options", options},
                                           {"versions",
                                            {{"ringlet", versions.ringlet},
                                             {"compiler", versions.compiler},
                                             {"onednn", versions.onednn},
                                             {"mpi", versions.mpi}}},
                                           {"host",
                                            {{"hostname", host.hostname},
                                             {"cpu_model", host.cpu_model},
                                             {"cores", host.cores}}}};
  const std::string text =
      document.dump(kIndent, ' ', false,
                    nlohmann::ordered_json::error_handler_t::replace) +
      "\n";
  write_file_atomically(config(), {std::as_bytes(std::span(text))});
}

}  // namespace ringlet
