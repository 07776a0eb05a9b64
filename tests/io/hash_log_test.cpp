#include "engine/io/hash_log.h"

#include <fstream>

#include "kernels/runtime/error.h"
#include "support/catch.h"
#include "support/files.h"

using namespace ringlet;
using namespace ringlet::testing;

namespace {

const std::vector<std::string> kNames{"fc.bias", "fc.weight", "conv1.weight"};

StepHashes step_of(std::uint64_t step, std::uint32_t salt = 0) {
  StepHashes hashes{.step = step,
                    .data = step * 7,
                    .loss = 1.0 / static_cast<double>(step),
                    .gradient_norm = 2.5,
                    .shards = {{0.25, 11}, {0.5, 12}},
                    .gradients = {1, 2, 3},
                    .weights = {4, 5, 6 + salt}};
  // A resumed run may have another number of ranks.
  if (step > 2) hashes.shards.pop_back();
  return hashes;
}

void write(const std::filesystem::path& path, std::uint64_t first,
           std::uint64_t last, std::uint32_t salt = 0) {
  HashLog log(path, kNames, first - 1);
  for (std::uint64_t step = first; step <= last; ++step) {
    log.write(step_of(step, salt));
  }
}

}  // namespace

TEST_CASE("hashes of steps come back as they were") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "hashes.bin";
  write(path, 1, 4);
  const HashChain chain = read_hashes(path);
  CHECK((chain.parameters == kNames));
  REQUIRE(chain.steps.size() == 4);
  for (std::uint64_t i = 0; i < 4; ++i) {
    const StepHashes got = chain.steps[i].hashes, expected = step_of(i + 1);
    CHECK(got.step == expected.step);
    CHECK(got.data == expected.data);
    CHECK(got.loss == expected.loss);
    CHECK(got.gradient_norm == expected.gradient_norm);
    CHECK((got.gradients == expected.gradients));
    CHECK((got.weights == expected.weights));
    REQUIRE(got.shards.size() == expected.shards.size());
    CHECK(got.shards.back().loss == expected.shards.back().loss);
    CHECK(got.shards.back().gradients == expected.shards.back().gradients);
  }
}

TEST_CASE("a run that goes on replaces what came after its checkpoint") {
  const TemporaryFolder folder;
  const auto straight = folder.path() / "a", broken = folder.path() / "b";
  write(straight, 1, 6);
  write(broken, 1, 4, 1);
  write(broken, 1, 3);
  write(broken, 4, 5, 1);
  write(broken, 4, 6);
  CHECK(read_hashes(broken).steps.back().chain ==
        read_hashes(straight).steps.back().chain);
  CHECK((read_file(broken) == read_file(straight)));
}

TEST_CASE("a chain tells histories apart") {
  const TemporaryFolder folder;
  write(folder.path() / "a", 1, 3);
  write(folder.path() / "b", 1, 1, 1);
  write(folder.path() / "b", 2, 3);
  const HashChain a = read_hashes(folder.path() / "a");
  const HashChain b = read_hashes(folder.path() / "b");
  CHECK((a.steps[2].hashes.weights == b.steps[2].hashes.weights));
  CHECK(a.steps[2].chain != b.steps[2].chain);
}

TEST_CASE("a record that a killed run left half-written is not there") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "hashes.bin";
  write(path, 1, 3);
  const auto bytes = std::filesystem::file_size(path);
  write(path, 4, 4);
  const auto more = std::filesystem::file_size(path);
  for (auto size = bytes; size < more; ++size) {
    std::filesystem::resize_file(path, size);
    CHECK(read_hashes(path).steps.size() == 3);
    write(path, 4, 4);
    CHECK(std::filesystem::file_size(path) == more);
  }
}

TEST_CASE("a run goes on where a power cut left zeros in the end") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "hashes.bin";
  write(path, 1, 4);
  const std::string whole = read_file(path);
  write(path, 1, 3);
  std::filesystem::resize_file(path, whole.size());
  CHECK_THROWS_WITH(read_hashes(path), ContainsSubstring(path.string()));
  write(path, 4, 4);
  CHECK((read_file(path) == whole));
}

TEST_CASE("hashes that were changed are refused") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "hashes.bin";
  write(path, 1, 3);
  const std::string whole = read_file(path);
  const std::size_t header = whole.find('\n') + 1;
  for (std::size_t i = header; i < whole.size(); ++i) {
    std::string changed = whole;
    changed[i] = static_cast<char>(changed[i] ^ 4);
    std::ofstream(path, std::ios::binary) << changed;
    bool found = false;
    try {
      // A length that grew makes its record one that is not there.
      found = read_hashes(path).steps.size() < 3;
    } catch (const Error& error) {
      found = std::string(error.what()).find(path.string()) == 0;
    }
    INFO("byte " << i);
    CHECK(found);
  }
  CHECK_THROWS_WITH(HashLog(path, {"fc.bias"}, 0),
                    ContainsSubstring(path.string()));
}

TEST_CASE("what is no file of hashes is refused") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "hashes.bin";
  CHECK_THROWS_WITH(read_hashes(path), ContainsSubstring("cannot be read"));
  for (const char* text :
       {"", "{}", "{}\n", "[1]\n", "{\"ringlet_hashes\": 2}\n", "no\n"}) {
    std::ofstream(path) << text;
    CHECK_THROWS_WITH(read_hashes(path),
                      ContainsSubstring("expected hashes of a run's steps"));
  }
}
