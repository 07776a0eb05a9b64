#include "engine/io/checkpoint.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>

#include "engine/io/durable_files.h"
#include "kernels/runtime/check.h"
#include "support/catch.h"
#include "support/files.h"

using namespace ringlet;
using ringlet::testing::read_file;
using ringlet::testing::TemporaryFolder;
using ringlet::testing::write_file;

namespace {

std::vector<CheckpointFile> files_with(float value) {
  return {{"model.safetensors",
           {{"conv1.weight", Tensor::of({2, 3}, {value, 1, 2, 3, 4, 5})},
            {"bn1.running_mean", Tensor::of({2}, {value, -value})}},
           {{"model", "tiny"}}},
          {"optimizer.safetensors",
           {{"conv1.weight", Tensor::of({2, 3}, {0, 0, 0, 0, 0, value})}},
           {}}};
}

CheckpointState state_at(std::size_t step, std::optional<double> score = {}) {
  return {.step = step, .score = score, .more = {{"seed", 0.1}}};
}

std::filesystem::path save(const CheckpointFolder& folder, std::size_t step,
                           std::optional<double> score = {}) {
  return folder.save(files_with(static_cast<float>(step)),
                     state_at(step, score));
}

float first_weight(const Checkpoint& checkpoint) {
  const SafetensorsFile file =
      read_safetensors(checkpoint.folder / "model.safetensors");
  return file.find("conv1.weight")->data()[0];
}

// The message with which reading fails; "" where it does not.
std::string error_of(const std::filesystem::path& folder) {
  try {
    read_checkpoint(folder);
    return "";
  } catch (const Error& error) {
    return error.what();
  }
}

std::vector<std::string> names_in(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

Checkpoint newest(const CheckpointFolder& folder) {
  std::vector<std::string> rejected;
  return folder.newest(rejected);
}

// The n-th change to the file system from now on is not made: the disk is
// full, or the process dies there.
int changes_left = 0;
bool dies = false;

void fail_in_turn(const char* change, const std::filesystem::path& path) {
  if (changes_left-- > 0) return;
  if (dies) std::_Exit(7);
  throw Error(fmt::format("{}: cannot {}: disk full", path.string(), change));
}

class FailingChanges {
 public:
  FailingChanges(int after, bool by_death) {
    changes_left = after;
    dies = by_death;
    set_file_hook(&fail_in_turn);
  }
  ~FailingChanges() { set_file_hook(nullptr); }
};

// Runs `action` in a child process; true where it came to its end.
bool survives(const std::function<void()>& action) {
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    action();
    std::_Exit(0);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  REQUIRE((WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 7));
  return WEXITSTATUS(status) == 0;
}

}  // namespace

TEST_CASE("A checkpoint is read back as it was written") {
  const TemporaryFolder temporary;
  const CheckpointFolder folder(temporary.path() / "checkpoints");
  const auto path = save(folder, 140, 0.1 + 0.2);
  CHECK(path == folder.of_step(140));
  CHECK(names_in(folder.path()) == std::vector<std::string>{"step-140"});
  CHECK(names_in(path) == std::vector<std::string>{"manifest.json",
                                                   "model.safetensors",
                                                   "optimizer.safetensors"});
  const Checkpoint back = newest(folder);
  CHECK(back.folder == path);
  CHECK(back.state.step == 140);
  CHECK(back.state.score == 0.1 + 0.2);
  CHECK(back.state.more["seed"] == 0.1);
  CHECK(first_weight(back) == 140);
  CHECK(nlohmann::json::parse(read_file(path / "manifest.json"))["step"] ==
        140);
}

TEST_CASE("A checkpoint replaces one of the same step") {
  const TemporaryFolder temporary;
  const CheckpointFolder folder(temporary.path());
  save(folder, 5);
  folder.save(files_with(7), state_at(5));
  CHECK(first_weight(newest(folder)) == 7);
  CHECK(names_in(folder.path()) == std::vector<std::string>{"step-5"});
}

TEST_CASE("The newest and the best checkpoints are kept") {
  const TemporaryFolder temporary;
  const CheckpointFolder folder(temporary.path());
  save(folder, 1, 0.3);
  save(folder, 2, 0.8);
  save(folder, 3);
  save(folder, 4, 0.5);
  save(folder, 10, 0.6);
  std::filesystem::create_directory(folder.path() / "step-9");  // not whole
  std::filesystem::create_directory(folder.path() / "notes");
  std::filesystem::create_directory(folder.path() / "step-1.tmp");
  std::filesystem::create_directory(folder.path() / "step-7.tmp");
  folder.prune(2);
  CHECK(names_in(folder.path()) == std::vector<std::string>{"notes", "step-10",
                                                            "step-2", "step-4",
                                                            "step-9"});
  folder.prune(1);
  CHECK(names_in(folder.path()) ==
        std::vector<std::string>{"notes", "step-10", "step-2", "step-9"});
}

TEST_CASE("Later checkpoints are set aside") {
  const TemporaryFolder temporary;
  const CheckpointFolder folder(temporary.path());
  for (const std::size_t step : {1, 2, 10, 11}) save(folder, step);
  CHECK(folder.set_aside_after(2).size() == 2);
  CHECK(names_in(folder.path()) ==
        std::vector<std::string>{"step-1", "step-10.old", "step-11.old",
                                 "step-2"});
  CHECK(newest(folder).state.step == 2);
  save(folder, 10);
  CHECK(folder.set_aside_after(2).size() == 1);  // in the place of the older
  CHECK(newest(folder).state.step == 2);
}

TEST_CASE("No checkpoint, or none that is whole, is an error with reasons") {
  const TemporaryFolder temporary;
  const CheckpointFolder folder(temporary.path());
  CHECK_THROWS_WITH(newest(folder), ContainsSubstring("no checkpoint there"));
  save(folder, 3);
  write_file(folder.of_step(3) / "manifest.json", "{}");
  std::filesystem::create_directory(folder.of_step(4));
  CHECK_THROWS_WITH(newest(folder),
                    ContainsSubstring("step-4/manifest.json: cannot read") &&
                        ContainsSubstring("step-3/manifest.json: does not "
                                          "begin with the sum"));
}

TEST_CASE("A checkpoint that was cut off anywhere is rejected") {
  const TemporaryFolder temporary;
  const CheckpointFolder folder(temporary.path());
  save(folder, 1);
  const auto path = save(folder, 2);
  for (const std::string& name : names_in(path)) {
    const std::string whole = read_file(path / name);
    for (std::size_t length = 0; length < whole.size(); ++length) {
      write_file(path / name, whole.substr(0, length));
      const std::string error = error_of(path);
      if (!error.starts_with((path / name).string() + ": ")) {
        FAIL(name << " with " << length << " bytes: " << error);
      }
    }
    std::vector<std::string> rejected;
    CHECK(folder.newest(rejected).state.step == 1);
    CHECK(rejected.size() == 1);
    write_file(path / name, whole + "x");
    CHECK_FALSE(error_of(path).empty());
    write_file(path / name, whole);
    CHECK(error_of(path).empty());
  }
}

TEST_CASE("A checkpoint with any bit flipped is rejected") {
  const TemporaryFolder temporary;
  const CheckpointFolder folder(temporary.path());
  const auto path = save(folder, 2);
  for (const std::string& name : names_in(path)) {
    const std::string whole = read_file(path / name);
    const std::size_t header =
        name == "manifest.json" ? whole.size() : whole.rfind('}') + 1;
    for (std::size_t bit = 0; bit < whole.size() * 8; ++bit) {
      std::string broken = whole;
      broken[bit / 8] = static_cast<char>(broken[bit / 8] ^ (1 << bit % 8));
      write_file(path / name, broken);
      const std::string error = error_of(path);
      const bool named = bit / 8 < header ||
                         error.find("tensor '") != std::string::npos ||
                         error.find("the header") != std::string::npos;
      if (!error.starts_with((path / name).string() + ": ") || !named) {
        FAIL(name << ", bit " << bit << ": " << error);
      }
    }
    write_file(path / name, whole);
  }
  std::string broken = read_file(path / "optimizer.safetensors");
  broken.back() = 'x';
  write_file(path / "optimizer.safetensors", broken);
  CHECK_THAT(error_of(path),
             ContainsSubstring("optimizer.safetensors: tensor 'conv1.weight' "
                               "is not as it was written"));
}

TEST_CASE("A manifest names no file outside its folder") {
  const TemporaryFolder temporary;
  const CheckpointFolder folder(temporary.path());
  auto files = files_with(1);
  files[0].name = "../model.safetensors";
  CHECK_THROWS_WITH(
      newest(CheckpointFolder(folder.save(files, state_at(1)).parent_path())),
      ContainsSubstring("outside its folder"));
}

TEST_CASE("A disk that fills up at any change leaves the old checkpoint") {
  const TemporaryFolder temporary;
  const CheckpointFolder folder(temporary.path());
  save(folder, 1);
  bool done = false;
  int failures = 0;
  for (; !done; ++failures) {
    {
      const FailingChanges failing(failures, false);
      try {
        save(folder, 2);
        done = true;
      } catch (const Error& error) {
        CHECK_THAT(error.what(),
                   StartsWith("no checkpoint of step 2 (") &&
                       ContainsSubstring("disk full; earlier ones"));
      }
    }
    const std::size_t step = newest(folder).state.step;
    CHECK((step == 1 || step == 2));
    CHECK(names_in(folder.path()).front() == "step-1");
    for (const auto& name : names_in(folder.path())) {
      CHECK(name.find("tmp") == std::string::npos);
    }
    if (!done) std::filesystem::remove_all(folder.of_step(2));
  }
  CHECK(newest(folder).state.step == 2);
  CHECK(failures > 15);  // create, write, fsync, close of three files, and more
}

TEST_CASE("A crash at any change leaves the old checkpoint or the new one") {
  const bool replaces = GENERATE(false, true);
  INFO("in the place of the same step: " << replaces);
  const TemporaryFolder temporary;
  const CheckpointFolder folder(temporary.path());
  const std::size_t step = replaces ? 1 : 2;
  bool done = false;
  std::size_t old_ones = 0, new_ones = 0;
  for (int changes = 0; !done; ++changes) {
    std::filesystem::remove_all(folder.of_step(2));
    save(folder, 1);
    done = survives([&] {
      const FailingChanges failing(changes, true);
      folder.save(files_with(9), state_at(step));
    });
    const float weight = first_weight(newest(folder));
    REQUIRE((weight == 1 || weight == 9));
    ++(weight == 1 ? old_ones : new_ones);
    if (done) CHECK(weight == 9);
    // What the crash left is in nobody's way.
    folder.save(files_with(9), state_at(step));
    CHECK(first_weight(newest(folder)) == 9);
  }
  CHECK(old_ones > 15);
  CHECK(new_ones >= 2);
  CHECK(names_in(folder.path()).size() == (replaces ? 1 : 2));
}
