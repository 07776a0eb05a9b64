#include "engine/io/atomic_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "kernels/runtime/error.h"

namespace ringlet {
namespace {

constexpr mode_t kMode = 0666;  // less what the user's umask takes away

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

// Removes the half-written file unless it was renamed.
class Temporary {
 public:
  explicit Temporary(std::filesystem::path path) : path_(std::move(path)) {}
  ~Temporary() {
    if (!renamed_) ::unlink(path_.c_str());
  }
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;

  void rename_to(const std::filesystem::path& target) {
    if (std::rename(path_.c_str(), target.c_str()) != 0) {
      fail(target, "rename the finished file");
    }
    renamed_ = true;
  }

 private:
  std::filesystem::path path_;
  bool renamed_ = false;
};

void write_all(int file, std::span<const std::byte> bytes,
               const std::filesystem::path& path) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail(path, "write");
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

// A rename is on disk only when its folder is.
void sync_folder_of(const std::filesystem::path& path) {
  const auto parent = path.parent_path();
  const auto folder = parent.empty() ? std::filesystem::path(".") : parent;
  const Descriptor handle(
      ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (handle.get() < 0 || ::fsync(handle.get()) != 0) {
    fail(path, "sync the folder");
  }
}

}  // namespace

void write_file_atomically(
    const std::filesystem::path& path,
    const std::vector<std::span<const std::byte>>& pieces) {
  const std::filesystem::path temporary_path = path.string() + ".tmp";
  // What a killed run left is removed, and O_EXCL then refuses to write
  // through a link that somebody else put in its place.
  ::unlink(temporary_path.c_str());
  Descriptor file(::open(temporary_path.c_str(),
                         O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, kMode));
  if (file.get() < 0) fail(path, "create");
  Temporary temporary(temporary_path);
  for (const auto& piece : pieces) write_all(file.get(), piece, path);
  if (::fsync(file.get()) != 0) fail(path, "write");
  if (file.close() != 0) fail(path, "write");
  temporary.rename_to(path);
  sync_folder_of(path);
}

}  // namespace ringlet
