#include "engine/io/run_directory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/io/durable_files.h"
#include "kernels/runtime/check.h"

namespace ringlet {
namespace {

constexpr int kIndent = 2;
constexpr mode_t kLockMode = 0644;
constexpr const char* kConvolutions = "convolutions.txt";

[[noreturn]] void refuse_folder(const std::filesystem::path& path,
                                const std::string& reason) {
  throw Error(
      fmt::format("{}: cannot write there: {}; name another run directory",
                  path.string(), reason));
}

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

FileLock::FileLock(std::filesystem::path path) : path_(std::move(path)) {
  // Whoever held it may have removed the file after it was opened here.
  struct stat ours {
  }, current{};
  do {
    if (file_ >= 0) ::close(file_);
    file_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, kLockMode);
    if (file_ < 0) {
      throw Error(fmt::format("{}: cannot open: {}", path_.string(),
                              std::strerror(errno)));
    }
    if (::flock(file_, LOCK_EX | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK) {
        const std::string reason = std::strerror(errno);
        ::close(file_);
        throw Error(fmt::format("{}: cannot lock: {}", path_.string(), reason));
      }
      std::array<char, 256> holder{};
      const ssize_t length = ::read(file_, holder.data(), holder.size() - 1);
      ::close(file_);
      throw Error(fmt::format(
          "{}: another job is at work there ({}); name another run directory "
          "or wait for its end",
          path_.parent_path().string(),
          length > 0 ? holder.data() : "it does not say which"));
    }
  } while (::fstat(file_, &ours) != 0 || ::stat(path_.c_str(), &current) != 0 ||
           ours.st_ino != current.st_ino);
  const std::string text =
      fmt::format("process {} on {}", getpid(), host_info().hostname);
  if (::ftruncate(file_, 0) != 0 || ::write(file_, text.data(), text.size()) !=
                                        static_cast<ssize_t>(text.size())) {
    const std::string reason = std::strerror(errno);
    ::unlink(path_.c_str());
    ::close(file_);
    throw Error(fmt::format("{}: cannot write: {}", path_.string(), reason));
  }
}

FileLock::~FileLock() {
  ::unlink(path_.c_str());
  ::close(file_);
}

RunDirectory::RunDirectory(std::filesystem::path path, Open how)
    : path_(std::move(path)), new_folders_(path_) {
  if (how == Open::kNew) make();
  if (::faccessat(AT_FDCWD, path_.c_str(), W_OK | X_OK, AT_EACCESS) != 0) {
    refuse_folder(path_, std::strerror(errno));
  }
  lock_.emplace(path_ / ".lock");
  if (how == Open::kNew) refuse_other_run();
  if (how == Open::kContinue && !std::filesystem::exists(config())) {
    throw Error(fmt::format("{}: holds no run to go on with: no config.json",
                            path_.string()));
  }
}

void RunDirectory::make() const {
  std::error_code reason;
  std::filesystem::create_directories(path_, reason);
  if (reason) refuse_folder(path_, reason.message());
}

void RunDirectory::cut_metrics(std::size_t bytes) const {
  std::error_code reason;
  if (!std::filesystem::exists(metrics(), reason)) return;
  std::ifstream file(metrics(), std::ios::binary);
  std::string kept(
      std::min<std::size_t>(bytes, std::filesystem::file_size(metrics())),
      '\0');
  if (!file.read(kept.data(), static_cast<std::streamsize>(kept.size()))) {
    throw Error(fmt::format("{}: cannot read", metrics().string()));
  }
  const std::size_t lines_end = kept.rfind('\n') + 1;  // 0 where there is none
  std::filesystem::resize_file(metrics(), lines_end, reason);
  if (reason) {
    throw Error(fmt::format("{}: cannot shorten: {}", metrics().string(),
                            reason.message()));
  }
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
  nlohmann::ordered_json document = {{"options", options},
                                     {"versions",
                                      {{"ringlet", versions.ringlet},
                                       {"compiler", versions.compiler},
                                       {"onednn", versions.onednn},
                                       {"mpi", versions.mpi}}},
                                     {"host",
                                      {{"hostname", host.hostname},
                                       {"cpu_model", host.cpu_model},
                                       {"cores", host.cores}}}};
  if (!versions.gpu.empty()) document["versions"]["gpu"] = versions.gpu;
  const std::string text =
      document.dump(kIndent, ' ', false,
                    nlohmann::ordered_json::error_handler_t::replace) +
      "\n";
  write_file_atomically(config(), {std::as_bytes(std::span(text))});
}

std::string read_convolutions(const std::filesystem::path& run) {
  std::ifstream file(run / kConvolutions);
  return {std::istreambuf_iterator<char>(file), {}};
}

void RunDirectory::write_convolutions(const std::string& choices) const {
  if (choices.empty()) return;
  write_file_atomically(path_ / kConvolutions,
                        {std::as_bytes(std::span(choices))});
}

}  // namespace ringlet
