#include "engine/io/run_directory.h"

#include <unistd.h>

#include <nlohmann/json.hpp>

#include "kernels/runtime/error.h"
#include "support/catch.h"
#include "support/files.h"

using namespace ringlet;
using ringlet::testing::read_file;
using ringlet::testing::TemporaryFolder;
using ringlet::testing::write_file;

TEST_CASE("A run directory is made with its parents and holds the config") {
  const TemporaryFolder folder;
  const RunDirectory run(folder.path() / "runs" / "first");
  run.write_config({{"model", "resnet50"}, {"lr", 0.1}},
                   {"0.1.0", "g++ 12.2.0", "2.6.3", "Open MPI 4.1.4"},
                   {"box", "A CPU", 2});
  const auto config = nlohmann::json::parse(read_file(run.config()));
  CHECK(config["options"]["model"] == "resnet50");
  CHECK(config["options"]["lr"] == 0.1);
  CHECK(config["versions"]["ringlet"] == "0.1.0");
  CHECK(config["versions"]["compiler"] == "g++ 12.2.0");
  CHECK(config["versions"]["onednn"] == "2.6.3");
  CHECK(config["versions"]["mpi"] == "Open MPI 4.1.4");
  CHECK(config["host"]["hostname"] == "box");
  CHECK(config["host"]["cpu_model"] == "A CPU");
  CHECK(config["host"]["cores"] == 2);
}

TEST_CASE("An empty folder becomes a run directory, a used one does not") {
  const TemporaryFolder folder;
  CHECK_NOTHROW(RunDirectory(folder.path()));
  for (const char* file :
       {"config.json", "metrics.jsonl", "model.safetensors"}) {
    const auto used = folder.path() / std::string("with-") / file;
    std::filesystem::create_directories(used.parent_path());
    write_file(used, "");
    CHECK_THROWS_WITH(
        RunDirectory(used.parent_path()),
        StartsWith(used.parent_path().string() + ": holds a run") &&
            ContainsSubstring(file) && ContainsSubstring("remove this one"));
    std::filesystem::remove(used);
  }
}

TEST_CASE("A run that writes nothing leaves no folder of its own") {
  const TemporaryFolder folder;
  const auto runs = folder.path() / "runs";
  { const RunDirectory run(runs / "first" / ""); }
  CHECK(!std::filesystem::exists(runs));
  {
    const RunDirectory run(runs / "first");
    run.write_config({}, {}, {});
    const RunDirectory other(runs / "second");
  }
  CHECK(std::filesystem::exists(runs / "first" / "config.json"));
  CHECK(!std::filesystem::exists(runs / "second"));
  { const RunDirectory run(folder.path()); }
  CHECK(std::filesystem::exists(folder.path()));
}

TEST_CASE("Of two runs in one folder the second is refused") {
  const TemporaryFolder folder;
  const auto busy = ContainsSubstring("another job is at work there (process " +
                                      std::to_string(getpid()) + " on ");
  {
    const RunDirectory first(folder.path());
    CHECK_THROWS_WITH(RunDirectory(folder.path()), busy);
    first.write_config({{"run", 1}}, {}, {});
    CHECK_THROWS_WITH(
        RunDirectory(folder.path(), RunDirectory::Open::kContinue), busy);
  }
  CHECK_FALSE(std::filesystem::exists(folder.path() / ".lock"));
  CHECK_THROWS_WITH(RunDirectory(folder.path()),
                    ContainsSubstring("holds a run already"));
  CHECK_NOTHROW(RunDirectory(folder.path(), RunDirectory::Open::kContinue));
}

TEST_CASE("A folder without a run cannot be gone on with") {
  const TemporaryFolder folder;
  CHECK_THROWS_WITH(RunDirectory(folder.path(), RunDirectory::Open::kContinue),
                    ContainsSubstring("holds no run to go on with"));
}

TEST_CASE("A lock file that nobody holds blocks nobody") {
  const TemporaryFolder folder;
  write_file(folder.path() / ".lock", "process 1 on a machine that is gone");
  const RunDirectory run(folder.path());
  CHECK_THAT(read_file(folder.path() / ".lock"),
             StartsWith("process " + std::to_string(getpid()) + " on "));
}

TEST_CASE("Metrics are cut where a whole line ends") {
  const TemporaryFolder folder;
  const RunDirectory run(folder.path());
  CHECK_NOTHROW(run.cut_metrics(5));  // there are none yet
  for (const auto& [bytes, kept] : std::vector<std::pair<std::size_t, int>>{
           {100, 8}, {8, 8}, {7, 4}, {4, 4}, {3, 0}, {0, 0}}) {
    write_file(run.metrics(), "{1}\n{2}\n{3");  // the last was being written
    run.cut_metrics(bytes);
    CHECK(read_file(run.metrics()).size() == static_cast<std::size_t>(kept));
  }
}

TEST_CASE("A run directory that cannot be made is an error with its path") {
  const TemporaryFolder folder;
  write_file(folder.path() / "file", "");
  const auto below = folder.path() / "file" / "run";
  CHECK_THROWS_WITH(RunDirectory(below),
                    StartsWith(below.string() + ": cannot write there"));
  CHECK_THROWS_WITH(RunDirectory(folder.path() / "file"),
                    ContainsSubstring("cannot write there"));
  CHECK_THROWS_WITH(RunDirectory("/proc/ringlet-run"),
                    ContainsSubstring("name another run directory"));
}

TEST_CASE("A folder of somebody else is no run directory") {
  const TemporaryFolder folder;
  std::filesystem::permissions(folder.path(),
                               std::filesystem::perms(0555));  // no writing
  // Root may write everywhere, so root becomes nobody for a moment.
  constexpr uid_t kNobody = 65534;
  const uid_t user = geteuid();
  if (user == 0) REQUIRE(seteuid(kNobody) == 0);
  std::string message;
  try {
    RunDirectory run(folder.path());
  } catch (const Error& error) {
    message = error.what();
  }
  REQUIRE(seteuid(user) == 0);
  CHECK(message == folder.path().string() +
                       ": cannot write there: Permission denied; name another "
                       "run directory");
}

TEST_CASE("The host is described") {
  const HostInfo host = host_info();
  CHECK(!host.hostname.empty());
  CHECK(!host.cpu_model.empty());
  CHECK(host.cores >= 1);
}
