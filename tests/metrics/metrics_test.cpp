#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/metrics/event_file.h"
#include "engine/metrics/jsonl.h"
#include "engine/metrics/meter.h"
#include "engine/metrics/stopwatch.h"
#include "kernels/runtime/error.h"
#include "support/catch.h"
#include "support/files.h"

using namespace ringlet;
using namespace std::chrono_literals;
using ringlet::testing::read_file;
using ringlet::testing::TemporaryFolder;

TEST_CASE("A meter weighs batches by their samples") {
  Meter meter;
  CHECK(meter.mean() == 0);
  meter.add(1.0, 30);
  meter.add(4.0, 10);
  CHECK(meter.mean() == Approx(1.75));
  CHECK(meter.samples() == 40);
  meter.add(0, 0);  // a rank without samples
  CHECK(meter.mean() == Approx(1.75));
}

TEST_CASE("A step's time is split among its phases without a gap") {
  const Clock::time_point start;
  StepTimer timer(start);
  timer.lap(StepPhase::kData, start + 2s);
  timer.lap(StepPhase::kForward, start + 5s);
  timer.lap(StepPhase::kBackward, start + 10s);
  timer.lap(StepPhase::kForward, start + 11s);
  CHECK(timer.seconds(StepPhase::kData) == Approx(2));
  CHECK(timer.seconds(StepPhase::kForward) == Approx(4));
  CHECK(timer.seconds(StepPhase::kBackward) == Approx(5));
  CHECK(timer.seconds(StepPhase::kCommunication) == 0);
  CHECK(timer.total() == Approx(11));
  CHECK(std::string(name_of(StepPhase::kOptimizer)) == "optimizer");
}

TEST_CASE("A stopwatch runs forward") {
  const Stopwatch watch;
  const Clock::time_point now = Clock::now();
  CHECK(watch.seconds(now) >= 0);
  CHECK(watch.seconds(now + 3s) == Approx(watch.seconds(now) + 3));
}

TEST_CASE("JSON lines are readable at once, one object each") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "metrics.jsonl";
  JsonLines lines(path);
  lines.write({{"step", 1}, {"loss", 2.5}});
  CHECK(read_file(path) == "{\"step\":1,\"loss\":2.5}\n");
  lines.write({{"loss", std::nan("")}, {"note", "two\nlines, \xff"}});
  CHECK(read_file(path) ==
        "{\"step\":1,\"loss\":2.5}\n"
        "{\"loss\":null,\"note\":\"two\\nlines, \xef\xbf\xbd\"}\n");
  JsonLines(path).write({{"step", 2}});  // appends
  CHECK(read_file(path).ends_with("\n{\"step\":2}\n"));
}

TEST_CASE("JSON lines name the file that cannot be written") {
  JsonLines full("/dev/full");
  CHECK_THROWS_WITH(full.write({{"step", 1}}),
                    "/dev/full: cannot write: No space left on device");
  CHECK_THROWS_WITH(JsonLines("/proc/none/metrics.jsonl"),
                    StartsWith("/proc/none/metrics.jsonl: cannot open"));
}

// Those of RFC 3720, B.4.
TEST_CASE("A checksum of TensorBoard's files is CRC-32C") {
  CHECK(crc32c("") == 0);
  CHECK(crc32c("123456789") == 0xe3069283);
  CHECK(crc32c(std::string(32, '\0')) == 0x8a9136aa);
  CHECK(crc32c(std::string(32, '\xff')) == 0x62a8ab43);
}

TEST_CASE("Each start has an event file of its own, after the others") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "tensorboard";
  EventFile(path, 1).write(1, {{"train/loss", 2.5}});
  const std::string first = read_file(path / "events.out.tfevents.0000000001");
  EventFile(path, 2);
  CHECK(read_file(path / "events.out.tfevents.0000000001") == first);
  CHECK(read_file(path / "events.out.tfevents.0000000002").size() <
        first.size());
  CHECK(first.find("brain.Event:2") != std::string::npos);
  CHECK_THROWS_WITH(EventFile("/proc/none/tensorboard", 1),
                    StartsWith("/proc/none/tensorboard: cannot make"));
}
