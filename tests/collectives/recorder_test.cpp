#include "collectives/recorder.h"

#include <map>
#include <set>
#include <tuple>

#include "collectives/algorithm_communicator.h"
#include "collectives/ledger.h"
#include "collectives/schedule.h"
#include "kernels/runtime/check.h"
#include "support/catch.h"
#include "support/spawn_ranks.h"

namespace ringlet {
namespace {

using testing::spawn_transports;

// One rank's recorder and ledger.
struct Record {
  std::vector<Event> events;
  std::uint64_t dropped = 0;
  Ledger ledger;

  Traffic traffic() const {
    Traffic sum;
    for (const Event& event : events) {
      if (event.kind == EventKind::kSend) {
        ++sum.messages_sent;
        sum.bytes_sent += event.bytes;
      } else if (event.kind == EventKind::kReceive) {
        ++sum.messages_received;
        sum.bytes_received += event.bytes;
      }
    }
    return sum;
  }
};

using Body = std::function<void(Communicator&)>;

std::vector<Record> record(int ranks, const std::string& algorithm,
                           const Body& body,
                           const RecorderOptions& options = {}) {
  std::vector<Record> records(static_cast<std::size_t>(ranks));
  spawn_transports(ranks, [&](std::unique_ptr<Transport> transport) {
    Record& mine = records[static_cast<std::size_t>(transport->rank())];
    const auto recorder = std::make_shared<Recorder>(options);
    const auto communicator =
        make_algorithm_communicator(algorithm, std::move(transport),
                                    {.slice_bytes = 256, .recorder = recorder});
    body(*communicator);
    mine.events.assign(recorder->events().begin(), recorder->events().end());
    mine.dropped = recorder->dropped();
    mine.ledger = *communicator->ledger();
  });
  return records;
}

void all_reduce(Communicator& communicator, std::size_t count, int tag = -1) {
  std::vector<float> data(count, 1.0f);
  communicator.all_reduce(data.data(), count, Dtype::kF32, ReduceOp::kSum, tag);
}

void one_of_each(Communicator& communicator) {
  const auto ranks = static_cast<std::size_t>(communicator.size());
  std::vector<float> all(100 * ranks), part(100);
  all_reduce(communicator, 1001);
  communicator.reduce_scatter(all.data(), part.data(), part.size(), Dtype::kF32,
                              ReduceOp::kSum);
  communicator.all_gather(part.data(), all.data(), part.size(), Dtype::kF32);
  communicator.reduce(all.data(), all.size(), Dtype::kF32, ReduceOp::kSum, 0);
  communicator.broadcast(all.data(), all.size(), communicator.size() - 1);
  communicator.barrier();
}

std::size_t count_of(const Record& record, EventKind kind) {
  std::size_t count = 0;
  for (const Event& event : record.events) count += event.kind == kind ? 1 : 0;
  return count;
}

}  // namespace

TEST_CASE("the messages of a record are those of the ledger") {
  const std::string algorithm = GENERATE(from_range(schedule_names()));
  for (int ranks = 1; ranks <= 6; ++ranks) {
    CAPTURE(algorithm, ranks);
    for (const Record& record : record(ranks, algorithm, one_of_each)) {
      CHECK((record.traffic() == record.ledger.total()));
      CHECK(record.dropped == 0);
      CHECK(count_of(record, EventKind::kCall) == 6);
    }
  }
}

TEST_CASE("every send has one receive, and every event its time") {
  const std::string algorithm = GENERATE(from_range(schedule_names()));
  using Key = std::tuple<std::uint64_t, Phase, std::size_t, std::size_t,
                         std::size_t, int, int, std::size_t>;
  for (int ranks = 2; ranks <= 6; ++ranks) {
    CAPTURE(algorithm, ranks);
    std::set<Key> sends, receives;
    bool once = true, in_time = true;
    const auto records = record(ranks, algorithm, one_of_each);
    for (std::size_t rank = 0; rank < records.size(); ++rank) {
      std::map<std::uint64_t, Event> calls;
      for (const Event& event : records[rank].events) {
        if (event.kind == EventKind::kCall) calls[event.call] = event;
      }
      CHECK(calls.size() == 6);
      for (const Event& e : records[rank].events) {
        const Event& call = calls[e.call];
        in_time &= e.begin <= e.end && call.begin <= e.begin &&
                   e.end <= call.end && e.collective == call.collective &&
                   e.rank == static_cast<int>(rank);
        const auto key = [&](int from, int to) {
          return Key(e.call, e.phase, e.step, e.chunk, e.slice, from, to,
                     e.bytes);
        };
        if (e.kind == EventKind::kSend) {
          once &= sends.insert(key(e.rank, e.peer)).second;
        } else if (e.kind == EventKind::kReceive) {
          once &= receives.insert(key(e.peer, e.rank)).second;
        }
      }
    }
    CHECK(once);
    CHECK(in_time);
    CHECK((sends == receives));
  }
}

TEST_CASE("a ring adds each chunk that it receives, but its complete ones") {
  for (const Record& record :
       record(4, "ring", [](Communicator& c) { all_reduce(c, 4 * 64); })) {
    std::size_t added = 0, bytes = 0;
    for (const Event& event : record.events) {
      if (event.kind != EventKind::kReduce) continue;
      ++added;
      bytes += event.bytes;
      CHECK(event.phase == Phase::kReduceScatter);
      CHECK(event.peer == (event.rank + 3) % 4);
    }
    CHECK(added == 3);
    CHECK(bytes == record.ledger.of(Phase::kReduceScatter).bytes_received);
  }
}

TEST_CASE("step, bucket and call are in every event") {
  const auto records = record(3, "ring", [](Communicator& communicator) {
    all_reduce(communicator, 100);
    communicator.recorder()->set_training_step(7);
    std::vector<float> data(100);
    communicator
        .all_reduce_async(data.data(), data.size(), Dtype::kF32, ReduceOp::kSum,
                          4)
        .wait();
    communicator.recorder()->set_training_step(kNone);
    communicator.barrier();
  });
  for (const Record& record : records) {
    for (const Event& event : record.events) {
      const bool training = event.call == 1;
      CHECK(event.training_step == (training ? 7 : kNone));
      CHECK(event.bucket == (training ? 4 : kNone));
      CHECK(event.collective == (event.call == 2 ? CollectiveKind::kBarrier
                                                 : CollectiveKind::kAllReduce));
    }
  }
}

TEST_CASE("the rounds of a barrier are its steps") {
  for (const Record& record :
       record(5, "ring", [](Communicator& c) { c.barrier(); })) {
    std::multiset<std::size_t> steps;
    for (const Event& event : record.events) {
      if (event.kind == EventKind::kSend) steps.insert(event.step);
    }
    CHECK((steps == std::multiset<std::size_t>{0, 1, 2}));
  }
}

TEST_CASE("only the steps that are asked for are recorded, in whole calls") {
  const auto records =
      record(2, "ring",
             [](Communicator& communicator) {
               for (int step = 1; step <= 5; ++step) {
                 communicator.recorder()->set_training_step(step);
                 all_reduce(communicator, 300);
               }
               communicator.recorder()->set_training_step(kNone);
               communicator.barrier();
             },
             {.first_step = 2, .last_step = 3});
  for (const Record& record : records) {
    std::map<std::int64_t, std::uint64_t> bytes;
    for (const Event& event : record.events) {
      bytes[event.training_step] +=
          event.kind == EventKind::kSend ? event.bytes : 0;
    }
    const std::uint64_t once = (record.ledger.total().bytes_sent) / 5;
    CHECK(
        (bytes == std::map<std::int64_t, std::uint64_t>{{2, once}, {3, once}}));
  }
}

TEST_CASE("a full recorder counts what it drops") {
  const Body body = [](Communicator& c) { all_reduce(c, 1000); };
  const std::size_t all = record(3, "ring", body)[1].events.size();
  REQUIRE(all > 10);
  const Record some = record(3, "ring", body, {.capacity = 10})[1];
  CHECK(some.events.size() == 10);
  CHECK(some.dropped == all - 10);
  const Record none = record(3, "ring", body, {.capacity = 0})[1];
  CHECK(none.events.empty());
  CHECK(none.dropped == all);
}

TEST_CASE("without a recorder there is nothing to record to") {
  testing::spawn_ranks(2, [](Communicator& communicator) {
    RINGLET_CHECK(communicator.recorder() == nullptr, "a recorder");
  });
  CHECK(make_communicator("solo")->recorder() == nullptr);
}

TEST_CASE("a recorder that is cleared has room again") {
  Recorder recorder({.capacity = 1});
  recorder.add(Event{});
  recorder.add(Event{});
  CHECK(recorder.dropped() == 1);
  recorder.clear();
  CHECK(recorder.events().empty());
  CHECK(recorder.dropped() == 0);
  recorder.add(Event{});
  CHECK(recorder.events().size() == 1);
}

}  // namespace ringlet
