#include "engine/data/cifar10.h"

#include <fmt/format.h>

#include <cstdint>
#include <fstream>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "kernels/runtime/error.h"

namespace ringlet {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kRecordsPerFile = 10'000;
constexpr int kTrainFiles = 5;

[[noreturn]] void fail_to_read(const fs::path& path,
                               const std::string& reason) {
  throw Error(fmt::format(
      "cannot read {}: {}; expected a file of CIFAR-10's binary version",
      path.string(), reason));
}

// The whole file, which must have exactly `size` bytes.
std::vector<std::uint8_t> read_bytes(const fs::path& path, std::size_t size) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (error) fail_to_read(path, error.message());
  if (!fs::is_regular_file(status)) fail_to_read(path, "not a regular file");
  const std::uintmax_t actual = fs::file_size(path, error);
  if (error) fail_to_read(path, error.message());
  if (actual != size) {
    throw Error(
        fmt::format("{} has {} bytes, expected {} (CIFAR-10's binary "
                    "version)",
                    path.string(), actual, size));
  }
  std::vector<std::uint8_t> bytes(size);
  std::ifstream file(path, std::ios::binary);
  file.read(reinterpret_cast<char*>(bytes.data()),
            static_cast<std::streamsize>(size));
  if (!file) {
    fail_to_read(path, fmt::format("got {} of {} bytes", file.gcount(), size));
  }
  return bytes;
}

}  // namespace

ImageSet empty_cifar10(std::string name) {
  ImageSet set;
  set.name = std::move(name);
  set.classes = {"airplane", "automobile", "bird",  "cat",  "deer",
                 "dog",      "frog",       "horse", "ship", "truck"};
  // Computed over the 50,000 training pictures; the figures in common use.
  set.mean = {0.4914f, 0.4822f, 0.4465f};
  set.std = {0.2470f, 0.2435f, 0.2616f};
  return set;
}

void append_cifar10_file(const fs::path& path, std::size_t record_count,
                         ImageSet& set) {
  const std::size_t record_bytes = 1 + set.image_bytes();
  const std::vector<std::uint8_t> bytes =
      read_bytes(path, record_count * record_bytes);
  set.labels.reserve(set.labels.size() + record_count);
  set.pixels.reserve(set.pixels.size() + record_count * set.image_bytes());
  for (std::size_t i = 0; i < record_count; ++i) {
    const std::uint8_t* record = bytes.data() + i * record_bytes;
    if (record[0] >= set.classes.size()) {
      throw Error(fmt::format(
          "{} has label {} in record {} (byte {}), expected 0 to {}",
          path.string(), record[0], i, i * record_bytes,
          set.classes.size() - 1));
    }
    set.labels.push_back(record[0]);
    set.pixels.insert(set.pixels.end(), record + 1, record + record_bytes);
  }
}

Dataset read_cifar10(const fs::path& folder) {
  Dataset data{empty_cifar10("CIFAR-10 train"), {}};
  data.train.labels.reserve(kTrainFiles * kRecordsPerFile);
  data.train.pixels.reserve(kTrainFiles * kRecordsPerFile *
                            data.train.image_bytes());
  for (int i = 1; i <= kTrainFiles; ++i) {
    append_cifar10_file(folder / fmt::format("data_batch_{}.bin", i),
                        kRecordsPerFile, data.train);
  }
  data.test = read_cifar10_test(folder);
  return data;
}

ImageSet read_cifar10_test(const fs::path& folder) {
  ImageSet set = empty_cifar10("CIFAR-10 test");
  append_cifar10_file(folder / "test_batch.bin", kRecordsPerFile, set);
  return set;
}

}  // namespace ringlet
