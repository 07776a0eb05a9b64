#include "tests/fuzz/support.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "kernels/backend.h"
#include "kernels/runtime/buffer.h"
#include "kernels/runtime/error.h"

namespace ringlet {

// Tensors change their layout through it, which no reader asks of them; the
// kernels themselves want OpenMP and oneDNN.
Backend& backend(Device) { std::abort(); }

namespace fuzzing {
namespace {
// What the small inputs of a fuzzer can need, and the granularity in which
// memory is taken.
constexpr std::size_t kMostMemory = std::size_t{64} << 20;
}  // namespace

MemoryFile::MemoryFile()
    : descriptor_(memfd_create("fuzz", MFD_CLOEXEC)),
      path_("/proc/self/fd/" + std::to_string(descriptor_)) {
  require(descriptor_ >= 0, "no file in memory");
}

void MemoryFile::set(Bytes content) const {
  require(ftruncate(descriptor_, 0) == 0 &&
              pwrite(descriptor_, content.data(), content.size(), 0) ==
                  static_cast<ssize_t>(content.size()),
          "cannot write to a file in memory");
}

void require(bool condition, const char* message) {
  if (condition) return;
  std::fprintf(stderr, "fuzz: %s\n", message);
  std::abort();
}

bool accepts(const std::filesystem::path& path,
             const std::function<void()>& read) {
  bool accepted = true;
  try {
    read();
  } catch (const Error& error) {
    const std::string message = error.what();
    require(message.find(path.string()) != std::string::npos,
            "a message does not name the file");
    require(message.find_first_of("\n\r\0") == std::string::npos,
            "a message has more than one line");
    accepted = false;
  }
  require(allocator_stats().bytes_from_system <= kMostMemory,
          "memory was taken that the input cannot fill");
  return accepted;
}

}  // namespace fuzzing
}  // namespace ringlet
