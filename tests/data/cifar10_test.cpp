#include "engine/data/cifar10.h"

#include <string>

#include "kernels/runtime/error.h"
#include "support/catch.h"
#include "support/files.h"

using namespace ringlet;
using ringlet::testing::TemporaryFolder;
using ringlet::testing::write_file;

namespace {

constexpr std::size_t kRecordBytes = 3073;

// `count` records: record i has the label (first + i) mod 10 and pixels that
// all have the value first + i.
std::string records(std::size_t count, std::size_t first = 0) {
  std::string bytes;
  for (std::size_t i = first; i < first + count; ++i) {
    bytes.push_back(static_cast<char>(i % 10));
    bytes.append(kRecordBytes - 1, static_cast<char>(i));
  }
  return bytes;
}

ImageSet ten_classes() {
  ImageSet set;
  set.classes.resize(10);
  return set;
}

// What the reader says of a file of these bytes, less the folder; or "read".
std::string verdict(const std::string& bytes) {
  const TemporaryFolder folder;
  write_file(folder.path() / "batch.bin", bytes);
  ImageSet set = ten_classes();
  try {
    append_cifar10_file(folder.path() / "batch.bin", 12, set);
  } catch (const Error& error) {
    const std::string text = error.what();
    return text.substr(text.find("batch.bin"));
  }
  return "read";
}

}  // namespace

TEST_CASE("A file of CIFAR-10 is appended picture by picture") {
  const TemporaryFolder folder;
  write_file(folder.path() / "a", records(3));
  std::string bytes = records(1);
  bytes[0] = 9;
  bytes[1] = char(200);              // red, top left
  bytes[1 + 1024 + 31] = char(201);  // green, top right
  bytes[3072] = char(202);           // blue, bottom right
  write_file(folder.path() / "b", bytes);

  ImageSet set = ten_classes();
  append_cifar10_file(folder.path() / "a", 3, set);
  append_cifar10_file(folder.path() / "b", 1, set);
  CHECK(set.labels == std::vector<std::uint8_t>{0, 1, 2, 9});
  REQUIRE(set.pixels.size() == 4 * 3072);
  CHECK(set.image(2)[0] == 2);
  CHECK(set.image(2)[3071] == 2);
  CHECK(set.image(3)[0] == 200);
  CHECK(set.image(3)[1024 + 31] == 201);
  CHECK(set.image(3)[3071] == 202);
}

TEST_CASE("CIFAR-10 is five files to train and one to test") {
  const TemporaryFolder folder;
  const auto name = [&](int i) {
    return folder.path() / ("data_batch_" + std::to_string(i) + ".bin");
  };
  for (int i = 1; i <= 5; ++i) {
    write_file(name(i), records(10'000, static_cast<std::size_t>(i)));
  }
  CHECK_THROWS_WITH(read_cifar10(folder.path()),
                    ContainsSubstring("test_batch.bin"));
  write_file(folder.path() / "test_batch.bin", records(10'000, 6));
  const Dataset data = read_cifar10(folder.path());
  CHECK(data.train.count() == 50'000);
  CHECK(data.test.count() == 10'000);
  for (std::size_t i = 1; i <= 5; ++i) {  // in the order of their numbers
    CHECK(data.train.labels[(i - 1) * 10'000] == i);
    CHECK(data.train.image((i - 1) * 10'000)[0] == i);
  }
  CHECK(data.test.labels[0] == 6);
  CHECK(data.train.classes.at(9) == "truck");
}

TEST_CASE("Bad CIFAR-10 files are named, with what was expected") {
  CHECK(verdict(records(12)) == "read");
  const std::string expected =
      " bytes, expected 36876 (CIFAR-10's binary version)";
  CHECK(verdict(records(12) + 'x') == "batch.bin has 36877" + expected);
  CHECK(verdict(records(12).substr(1)) == "batch.bin has 36875" + expected);
  CHECK(verdict("") == "batch.bin has 0" + expected);
  std::string mislabelled = records(12);
  mislabelled[11 * kRecordBytes] = 10;
  CHECK(verdict(mislabelled) ==
        "batch.bin has label 10 in record 11 (byte 33803), expected 0 to 9");
  mislabelled[0] = char(255);
  CHECK(verdict(mislabelled) ==
        "batch.bin has label 255 in record 0 (byte 0), expected 0 to 9");
}

TEST_CASE("What is not a readable file is named, with the reason") {
  const TemporaryFolder folder;
  const auto read = [&](const char* name) {
    ImageSet set = ten_classes();
    append_cifar10_file(folder.path() / name, 1, set);
  };
  CHECK_THROWS_WITH(read("missing"), ContainsSubstring("missing") &&
                                         ContainsSubstring("No such file"));
  std::filesystem::create_directory(folder.path() / "directory");
  CHECK_THROWS_WITH(read("directory"), ContainsSubstring("not a regular file"));
  std::filesystem::create_symlink("loop", folder.path() / "loop");
  CHECK_THROWS_WITH(read("loop"), ContainsSubstring("symbolic links"));
  CHECK_THROWS_WITH(read_cifar10(folder.path() / "nowhere"),
                    ContainsSubstring("nowhere/data_batch_1.bin"));
}
