#include "engine/io/durable_files.h"

#include <sys/resource.h>

#include <csignal>
#include <string>

#include "kernels/runtime/error.h"
#include "support/catch.h"
#include "support/files.h"

using namespace ringlet;
using ringlet::testing::read_file;
using ringlet::testing::TemporaryFolder;
using ringlet::testing::write_file;

namespace {

void write(const std::filesystem::path& path, const std::string& text) {
  write_file_atomically(path, {std::as_bytes(std::span(text))});
}

// For its lifetime no file of this process may grow beyond `bytes`: a disk
// that fills up, for tests.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    old_handler_ = std::signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old_limit_);
    const rlimit limit{bytes, old_limit_.rlim_max};
    REQUIRE(setrlimit(RLIMIT_FSIZE, &limit) == 0);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &old_limit_);
    std::signal(SIGXFSZ, old_handler_);
  }

 private:
  rlimit old_limit_{};
  void (*old_handler_)(int) = nullptr;
};

}  // namespace

TEST_CASE("A file is written whole and replaces the old one") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "file";
  write_file(path, "what was there");
  write_file(folder.path() / "file.tmp", "left by a run that was killed");
  const std::string a = "first, ", b = "second";
  write_file_atomically(
      path, {std::as_bytes(std::span(a)), {}, std::as_bytes(std::span(b))});
  CHECK(read_file(path) == "first, second");
  CHECK(!std::filesystem::exists(folder.path() / "file.tmp"));
}

TEST_CASE("A full disk leaves the old file and nothing else") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "file";
  write_file(path, "old");
  {
    const FileSizeLimit limit(1000);
    CHECK_THROWS_WITH(write(path, std::string(1001, 'x')),
                      path.string() + ": cannot write: File too large");
    CHECK_NOTHROW(write(folder.path() / "fits", std::string(1000, 'x')));
  }
  CHECK(read_file(path) == "old");
  CHECK(!std::filesystem::exists(folder.path() / "file.tmp"));
}

TEST_CASE("A folder that is missing or in the way is an error") {
  const TemporaryFolder folder;
  const auto missing = folder.path() / "missing" / "file";
  CHECK_THROWS_WITH(write(missing, "text"),
                    missing.string() +
                        ": cannot create: No such file or "
                        "directory");
  const auto occupied = folder.path() / "occupied";
  std::filesystem::create_directory(occupied);
  CHECK_THROWS_WITH(write(occupied, "text"),
                    ContainsSubstring("occupied: cannot rename"));
  CHECK(!std::filesystem::exists(folder.path() / "occupied.tmp"));
}

TEST_CASE("A link in the place of the temporary file is not followed") {
  const TemporaryFolder folder;
  const auto victim = folder.path() / "victim";
  write_file(victim, "precious");
  std::filesystem::create_symlink(victim, folder.path() / "file.tmp");
  write(folder.path() / "file", "text");
  CHECK(read_file(victim) == "precious");
  CHECK(read_file(folder.path() / "file") == "text");
}
