#include "collectives/chrome_trace.h"

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "collectives/algorithm_communicator.h"
#include "collectives/schedule.h"
#include "collectives/skewed_transport.h"
#include "support/catch.h"
#include "support/files.h"
#include "support/spawn_ranks.h"

namespace ringlet {
namespace {

using nlohmann::json;
using testing::SkewedTransport;
using testing::TemporaryFolder;

constexpr std::int64_t kSkew = 3'000'000'000;  // ns, of each rank to the next

// The trace of some calls, on ranks whose clocks are seconds apart.
std::vector<RankTrace> traces_of(int ranks, const std::string& algorithm,
                                 const RecorderOptions& options = {}) {
  std::vector<RankTrace> traces;
  testing::spawn_transports(ranks, [&](std::unique_ptr<Transport> transport) {
    const int rank = transport->rank();
    const auto communicator = make_algorithm_communicator(
        algorithm,
        std::make_unique<SkewedTransport>(std::move(transport), rank * kSkew),
        {.slice_bytes = 256,
         .window = 3,
         .recorder = std::make_shared<Recorder>(options)});
    communicator->recorder()->set_training_step(9);
    std::vector<float> data(1001, 1.0f);
    for (int bucket = 0; bucket < 3; ++bucket) {
      communicator->all_reduce(data.data(), data.size(), Dtype::kF32,
                               ReduceOp::kSum, bucket);
    }
    communicator->barrier();
    const auto gathered = gather_traces(*communicator);
    if (rank == 0) traces = gathered;
  });
  return traces;
}

json chrome_json(const std::vector<RankTrace>& traces) {
  const TemporaryFolder folder;
  write_chrome_trace(folder.path() / "trace.json", traces);
  return json::parse(testing::read_file(folder.path() / "trace.json"));
}

std::int64_t nanoseconds(const json& microseconds) {
  return std::llround(microseconds.get<double>() * 1e3);
}

using Lane = std::pair<int, int>;  // pid, tid

Lane lane_of(const json& event) {
  return {event["pid"].get<int>(), event["tid"].get<int>()};
}

struct Interval {
  std::int64_t begin, end;
  json args;
};

// The X events, by lane and in order of time.
std::map<Lane, std::vector<Interval>> lanes_of(const json& document) {
  std::map<Lane, std::vector<Interval>> lanes;
  for (const json& event : document["traceEvents"]) {
    if (event["ph"] != "X") continue;
    const std::int64_t begin = nanoseconds(event["ts"]);
    lanes[lane_of(event)].push_back(
        {begin, begin + nanoseconds(event["dur"]), event["args"]});
  }
  return lanes;
}

}  // namespace

TEST_CASE("rank 0 gathers what all ranks have recorded") {
  const auto traces = traces_of(3, "ring");
  REQUIRE(traces.size() == 3);
  for (std::size_t rank = 0; rank < 3; ++rank) {
    CHECK(traces[rank].events.size() == traces[0].events.size());
    for (const Event& event : traces[rank].events) {
      CHECK(event.rank == static_cast<int>(rank));
      CHECK(event.training_step == 9);
    }
    REQUIRE(traces[rank].clock.size() == 2);
    for (const ClockReading& reading : traces[rank].clock) {
      const auto skew = static_cast<std::int64_t>(rank) * kSkew;
      CHECK(std::abs(reading.ahead - skew) <= reading.error);
    }
    CHECK(traces[rank].ledger.total().bytes_sent > 0);
  }
}

TEST_CASE("gathering leaves no trace, and can be done again") {
  testing::spawn_transports(2, [&](std::unique_ptr<Transport> transport) {
    const auto communicator =
        make_algorithm_communicator("ring", std::move(transport),
                                    {.recorder = std::make_shared<Recorder>()});
    communicator->barrier();
    const std::size_t events = communicator->recorder()->events().size();
    gather_traces(*communicator);
    const auto again = gather_traces(*communicator);
    if (communicator->rank() > 0) return;
    if (again.size() != 2 || again[1].events.size() != events ||
        again[1].clock.size() != 3) {
      throw Error("the second time differs");
    }
    communicator->recorder()->clear();
  });
  CHECK_THROWS_WITH(
      testing::spawn_ranks(1, [](Communicator& c) { gather_traces(c); }),
      ContainsSubstring("'ring' has no recorder"));
}

TEST_CASE("lanes of a Chrome trace never overlap, and have names") {
  const std::string algorithm = GENERATE(from_range(schedule_names()));
  CAPTURE(algorithm);
  const json document = chrome_json(traces_of(4, algorithm));
  std::set<Lane> named;
  for (const json& event : document["traceEvents"]) {
    if (event["ph"] == "M" && event["name"] == "thread_name") {
      named.insert(lane_of(event));
    }
  }
  std::set<int> ranks;
  for (const auto& [lane, intervals] : lanes_of(document)) {
    ranks.insert(lane.first);
    CHECK(named.count(lane) == 1);
    std::int64_t free = 0;
    bool apart = true;
    for (const Interval& interval : intervals) {
      apart &= free <= interval.begin && interval.begin <= interval.end;
      free = interval.end;
    }
    CHECK(apart);
  }
  CHECK((ranks == std::set<int>{0, 1, 2, 3}));
}

TEST_CASE("events of a Chrome trace carry all that is known") {
  const json document = chrome_json(traces_of(3, "ring"));
  std::set<int> buckets;
  std::set<std::string> phases;
  std::map<std::string, int> kinds;
  for (const json& event : document["traceEvents"]) {
    if (event["ph"] != "X") continue;
    const json& args = event["args"];
    ++kinds[event["cat"]];
    CHECK(args["rank"] == event["pid"]);
    CHECK(args["training_step"] == 9);
    buckets.insert(args["bucket"].get<int>());
    for (const char* field : {"call", "collective", "bytes"}) {
      CHECK(args.contains(field));
    }
    for (const char* field : {"phase", "step", "chunk", "slice", "peer"}) {
      CHECK(args.contains(field) == (event["cat"] != "call"));
    }
    if (args.contains("phase")) phases.insert(args["phase"]);
  }
  CHECK((buckets == std::set<int>{-1, 0, 1, 2}));
  CHECK((phases ==
         std::set<std::string>{"all-gather", "barrier", "reduce-scatter"}));
  CHECK(kinds["call"] == 3 * 4);
  CHECK(kinds["send"] == kinds["receive"]);
  CHECK(kinds["reduce"] > 0);
  const json& ranks = document["otherData"]["ranks"];
  REQUIRE(ranks.size() == 3);
  CHECK(ranks[1]["dropped"] == 0);
  CHECK(ranks[1]["clock"].size() == 2);
  CHECK(ranks[1]["clock"][0]["error_ns"] > 0);
  CHECK(ranks[1]["ledger"]["barrier"]["messages_sent"] == 2);
  CHECK(document["otherData"]["unpaired_messages"] == 0);
}

TEST_CASE("arrows lead from a send into its receive") {
  const json document = chrome_json(traces_of(4, "recursive_doubling"));
  const auto lanes = lanes_of(document);
  // The event that covers the arrow's end.
  const auto around = [&](const json& arrow) {
    const std::int64_t at = nanoseconds(arrow["ts"]);
    for (const Interval& interval : lanes.at(lane_of(arrow))) {
      if (interval.begin <= at && at <= interval.end) return interval;
    }
    return Interval{};
  };
  std::map<int, json> starts, ends;
  for (const json& event : document["traceEvents"]) {
    if (event["ph"] == "s") starts[event["id"]] = event;
    if (event["ph"] == "f") ends[event["id"]] = event;
  }
  CHECK(starts.size() > 20);
  REQUIRE(starts.size() == ends.size());
  for (const auto& [id, start] : starts) {
    REQUIRE(ends.count(id) == 1);
    const Interval send = around(start), receive = around(ends[id]);
    for (const char* field :
         {"call", "phase", "step", "chunk", "slice", "bytes"}) {
      CHECK(send.args[field] == receive.args[field]);
    }
    CHECK(send.args["peer"] == ends[id]["pid"]);
    CHECK(receive.args["peer"] == start["pid"]);
    // On one clock nothing arrives before it is sent; the clocks are a second
    // apart, and known to far less.
    CHECK(send.begin - receive.end < 100'000'000);
    CHECK(receive.end - send.begin < kSkew / 3);
  }
}

TEST_CASE("what a full recorder dropped is told") {
  const json document = chrome_json(traces_of(2, "ring", {.capacity = 20}));
  for (const json& rank : document["otherData"]["ranks"]) {
    CHECK(rank["events"] == 20);
    CHECK(rank["dropped"] > 0);
  }
}

TEST_CASE("a trace without an event is one too") {
  const json document = chrome_json(traces_of(2, "ring", {.first_step = 10}));
  CHECK(lanes_of(document).empty());
  CHECK(document["otherData"]["ranks"][1]["events"] == 0);
}

TEST_CASE("a trace that cannot be written is an error") {
  CHECK_THROWS_WITH(write_chrome_trace("/proc/none/trace.json", {}),
                    "/proc/none/trace.json: cannot write: No such file or "
                    "directory");
  CHECK_THROWS_WITH(write_chrome_trace("/dev/full", {}),
                    "/dev/full: cannot write: No space left on device");
}

}  // namespace ringlet
