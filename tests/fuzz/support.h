#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>

namespace ringlet::fuzzing {

using Bytes = std::span<const std::uint8_t>;

// A file that lies in memory only, and whose path readers can be given.
class MemoryFile {
 public:
  MemoryFile();
  void set(Bytes content) const;
  const std::filesystem::path& path() const { return path_; }

 private:
  int descriptor_;
  std::filesystem::path path_;
};

// Ends the fuzzer with `message`, so that it keeps the input, unless
// `condition` holds.
void require(bool condition, const char* message);

// Runs `read`. True if it returns; false if it throws an Error, as a reader
// must that refuses its input: one line of text with `path` in it, and without
// having taken tensors' memory for what the input claims to hold. Any other exception
// ends the fuzzer.
bool accepts(const std::filesystem::path& path,
             const std::function<void()>& read);

}  // namespace ringlet::fuzzing
