#include "engine/io/durable_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "kernels/runtime/error.h"

namespace ringlet {
namespace {

constexpr mode_t kFileMode = 0666;  // less what the user's umask takes away
constexpr mode_t kFolderMode = 0777;

FileHook file_hook = nullptr;

void before(const char* change, const std::filesystem::path& path) {
  if (file_hook != nullptr) file_hook(change, path);
}

[[noreturn]] void fail(const std::filesystem::path& path, const char* what) {
  throw Error(fmt::format("{}: cannot {}: {}", path.string(), what,
                          std::strerror(errno)));
}

// Owns a descriptor; close() reports what the destructor has to swallow.
class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int get() const { return number_; }
  int close() { return ::close(std::exchange(number_, -1)); }

 private:
  int number_;
};

// Removes the file unless it is kept.
class Temporary {
 public:
  explicit Temporary(std::filesystem::path path) : path_(std::move(path)) {}
  ~Temporary() {
    if (!kept_) ::unlink(path_.c_str());
  }
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;

  void keep() { kept_ = true; }

 private:
  std::filesystem::path path_;
  bool kept_ = false;
};

void write_all(int file, std::span<const std::byte> bytes,
               const std::filesystem::path& path) {
  while (!bytes.empty()) {
    before("write", path);
    const ssize_t written = ::write(file, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail(path, "write");
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

// Writes to `path`; messages name `target`, what it is meant to become.
void write_and_sync(const std::filesystem::path& path, const FilePieces& pieces,
                    const std::filesystem::path& target) {
  before("create", path);
  Descriptor file(
      ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, kFileMode));
  if (file.get() < 0) fail(target, "create");
  Temporary unfinished(path);
  for (const auto& piece : pieces) write_all(file.get(), piece, target);
  before("fsync", path);
  if (::fsync(file.get()) != 0) fail(target, "write");
  before("close", path);
  if (file.close() != 0) fail(target, "write");
  unfinished.keep();
}

std::filesystem::path folder_of(const std::filesystem::path& path) {
  const auto parent = path.parent_path();
  return parent.empty() ? std::filesystem::path(".") : parent;
}

}  // namespace

void write_new_file(const std::filesystem::path& path,
                    const FilePieces& pieces) {
  write_and_sync(path, pieces, path);
}

void write_file_atomically(const std::filesystem::path& path,
                           const FilePieces& pieces) {
  const std::filesystem::path temporary_path = path.string() + ".tmp";
  // What a killed run left is removed, and O_EXCL then refuses to write
  // through a link that somebody else put in its place.
  ::unlink(temporary_path.c_str());
  write_and_sync(temporary_path, pieces, path);
  Temporary temporary(temporary_path);
  before("rename", path);
  if (std::rename(temporary_path.c_str(), path.c_str()) != 0) {
    fail(path, "rename the finished file");
  }
  temporary.keep();
  sync_folder(folder_of(path));
}

void make_folder(const std::filesystem::path& path) {
  before("mkdir", path);
  if (::mkdir(path.c_str(), kFolderMode) != 0) fail(path, "create");
}

void replace_folder(const std::filesystem::path& from,
                    const std::filesystem::path& to) {
  before("rename", to);
  // Network file systems know no exchange: plain rename does without.
  const int result = std::filesystem::exists(to)
                         ? ::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD,
                                       to.c_str(), RENAME_EXCHANGE)
                         : std::rename(from.c_str(), to.c_str());
  if (result != 0) fail(to, "rename the finished folder");
  sync_folder(folder_of(to));
}

void sync_folder(const std::filesystem::path& path) {
  before("fsync", path);
  const Descriptor handle(
      ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (handle.get() < 0 || ::fsync(handle.get()) != 0) {
    fail(path, "sync the folder");
  }
}

void sync_file(const std::filesystem::path& path) {
  before("fsync", path);
  const Descriptor handle(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (handle.get() < 0 || ::fsync(handle.get()) != 0) fail(path, "sync");
}

void remove_folder(const std::filesystem::path& path) {
  before("remove", path);
  std::error_code reason;
  std::filesystem::remove_all(path, reason);
  if (reason) {
    throw Error(
        fmt::format("{}: cannot remove: {}", path.string(), reason.message()));
  }
}

void set_file_hook(FileHook hook) { file_hook = hook; }

}  // namespace ringlet
