#include "collectives/guard/guard.h"

#include <atomic>
#include <chrono>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "collectives/algorithm_communicator.h"
#include "collectives/guard/crash_card.h"
#include "collectives/guard/fault.h"
#include "collectives/guard/watchdog.h"
#include "collectives/ledger.h"
#include "collectives/thread_transport.h"
#include "kernels/runtime/check.h"
#include "support/catch.h"
#include "support/files.h"
#include "support/spawn_ranks.h"

namespace ringlet {
namespace {

using namespace std::chrono_literals;
using testing::spawn_transports;

struct Setting {
  std::string algorithm = "ring";
  int ranks = 3;
  int ranks_per_host = 3;
  GuardOptions guard{};
  std::string fault{};
  bool watch_between_hosts = true;
  int unwatched = kNobody;  // a rank without a watchdog
};

// Runs `body` on guarded ranks.
void spawn_guarded(const Setting& setting,
                   const std::function<void(Communicator&)>& body) {
  ThreadWorld world(setting.ranks, setting.ranks_per_host);
  ThreadWorld watch(setting.ranks, setting.ranks_per_host);
  spawn_transports(world, [&](std::unique_ptr<Transport> transport) {
    const int rank = transport->rank();
    std::optional<FaultInjector> fault;
    if (!setting.fault.empty()) fault.emplace(parse_fault(setting.fault));
    if (fault && parse_fault(setting.fault).message) {
      transport = fault->around(std::move(transport));
    }
    auto guarded = make_guarded_collectives(
        make_algorithm_collectives(setting.algorithm, std::move(transport), {},
                                   std::make_shared<Ledger>()),
        world.transport(rank),
        setting.watch_between_hosts ? watch.transport(rank) : nullptr,
        rank == setting.unwatched ? GuardOptions{.timeout_seconds = 0}
                                  : setting.guard);
    if (fault) guarded = fault->around(std::move(guarded));
    HostCommunicator communicator(std::move(guarded));
    body(communicator);
  });
}

// What each rank's calls came to: the text of its MismatchError, if it threw
// one, and what is in its data.
struct Outcome {
  std::string message;
  std::vector<float> data;
};

constexpr std::size_t kCount = 1000;

std::vector<Outcome> outcomes(
    const Setting& setting,
    const std::function<void(Communicator&, float*)>& calls) {
  std::vector<Outcome> all(static_cast<std::size_t>(setting.ranks));
  spawn_guarded(setting, [&](Communicator& communicator) {
    Outcome& own = all[static_cast<std::size_t>(communicator.rank())];
    own.data.assign(kCount, 1);
    try {
      calls(communicator, own.data.data());
    } catch (const MismatchError& error) {
      own.message = error.what();
    }
  });
  return all;
}

void two_buckets(Communicator& communicator, float* data) {
  communicator.barrier();
  communicator.all_reduce(data, kCount / 2, Dtype::kF32, ReduceOp::kSum, 0);
  communicator.all_reduce(data + kCount / 2, kCount / 2, Dtype::kF32,
                          ReduceOp::kSum, 1);
}

const std::vector<Setting>& settings() {
  static const std::vector<Setting> all{{"ring", 2, 2},    {"ring", 3, 3},
                                        {"ring", 4, 2},    {"naive", 5, 2},
                                        {"ordered", 3, 1}, {"shared", 3, 3}};
  return all;
}

TEST_CASE("with a guard the results are what they are without") {
  for (const Setting& setting : settings()) {
    const auto ranks = static_cast<float>(setting.ranks);
    for (const Outcome& outcome : outcomes(setting, &two_buckets)) {
      CHECK(outcome.message.empty());
      CHECK((outcome.data == std::vector<float>(kCount, ranks)));
    }
  }
}

// The last rank does otherwise in its second bucket.
TEST_CASE("whatever a rank does otherwise, all ranks learn who does what") {
  const std::string usual = "all_reduce of 500 f32, sum, bucket 1";
  const std::pair<const char*, std::string> faults[] = {
      {"count", "all_reduce of 499 f32, sum, bucket 1"},
      {"dtype", "all_reduce of 500 i32, sum, bucket 1"},
      {"redop", "all_reduce of 500 f32, max, bucket 1"},
      {"tag", "all_reduce of 500 f32, sum, bucket 2"},
      {"skip", "the end of its calls"},
  };
  for (Setting setting : settings()) {
    for (const auto& [kind, text] : faults) {
      const int odd = setting.ranks - 1;
      setting.fault = fmt::format("rank={},op=all_reduce#2,kind={}", odd, kind);
      const auto all = outcomes(setting, &two_buckets);
      for (int rank = 0; rank < setting.ranks; ++rank) {
        const Outcome& outcome = all[static_cast<std::size_t>(rank)];
        // A rank that has come to its end has nobody to tell.
        if (rank == odd && kind == std::string("skip")) continue;
        INFO(setting.algorithm << ", " << setting.ranks << " ranks, " << kind
                               << ", rank " << rank);
        CHECK_THAT(outcome.message,
                   StartsWith("ranks differ in call 3: ") &&
                       ContainsSubstring("rank 0 " + usual) &&
                       ContainsSubstring(fmt::format("rank {} {}", odd, text)));
        CHECK((std::vector<float>(outcome.data.begin() + kCount / 2,
                                  outcome.data.end()) ==
               std::vector<float>(kCount / 2, 1)));
      }
    }
  }
}

TEST_CASE("one call too many and two that are swapped are found") {
  for (Setting setting : settings()) {
    setting.fault = "rank=1,op=all_reduce#2,kind=extra";
    const auto extra = outcomes(setting, &two_buckets);
    CHECK_THAT(
        extra[1].message,
        StartsWith("ranks differ in call 4: rank 0 the end of its "
                   "calls; rank 1 all_reduce of 500 f32, sum, bucket 1"));
    CHECK(extra[0].message.empty());
    setting.fault = "rank=1,op=all_reduce#1,kind=swap";
    for (const Outcome& outcome : outcomes(setting, &two_buckets)) {
      CHECK_THAT(outcome.message,
                 StartsWith("ranks differ in call 2: rank 0 all_reduce of 500 "
                            "f32, sum, bucket 0; rank 1 all_reduce of 500 f32, "
                            "sum, bucket 1"));
      CHECK((outcome.data == std::vector<float>(kCount, 1)));
    }
  }
}

TEST_CASE("calls that run beside the caller are checked too") {
  const auto calls = [](Communicator& communicator, float* data) {
    const bool odd = communicator.rank() == 2;
    std::vector<Work> works;
    for (int bucket = 0; bucket < 4; ++bucket) {
      const std::size_t count = odd && bucket == 2 ? 99 : 100;
      works.push_back(communicator.all_reduce_async(
          data + 100 * bucket, count, Dtype::kF32, ReduceOp::kSum, bucket));
    }
    for (Work& work : works) work.wait();
  };
  for (const Outcome& outcome : outcomes(Setting(), calls)) {
    CHECK_THAT(outcome.message, StartsWith("ranks differ in call 3: "));
    CHECK(outcome.data[199] == 3);
    CHECK(outcome.data[200] == 1);
  }
}

TEST_CASE("who waits for a rank that has thrown is told so, also of ring") {
  std::atomic<int> told = 0;
  std::atomic<int> through = 0;  // the first barrier, which may not be broken
  const auto body = [&](Communicator& communicator) {
    communicator.barrier();
    ++through;
    if (communicator.rank() == 1) {
      while (through < communicator.size()) std::this_thread::sleep_for(1ms);
      throw Error("rank 1 has had enough");
    }
    try {
      communicator.barrier();
    } catch (const Cancelled& cancelled) {
      told += cancelled.what() == std::string("rank 1 gave up");
      throw;
    }
  };
  CHECK_THROWS_WITH(spawn_guarded(Setting(), body), "rank 1 has had enough");
  CHECK(told == 2);
}

TEST_CASE("what ranks of all hosts did otherwise is in the crash card") {
  for (Setting setting : {Setting{"ring", 3, 3}, Setting{"ring", 4, 2}}) {
    const testing::TemporaryFolder folder;
    const std::string run = folder.path().string();
    const int odd = setting.ranks - 1;
    setting.fault = fmt::format("rank={},op=all_reduce#2,kind=count", odd);
    for (const Outcome& outcome :
         outcomes(setting, [&](Communicator&communicator, float*data) {
           communicator.keep_calls(run);
           two_buckets(communicator, data);
         })) {
      CHECK_THAT(outcome.message,
                 EndsWith("; more in " + crash_card_path(run)));
    }
    const std::string card = testing::read_file(crash_card_path(run));
    CHECK_THAT(card, ContainsSubstring("verdict   ranks differ in call 3: "));
    CHECK_THAT(card, ContainsSubstring(fmt::format(
                         "  call 3, all_reduce of 500 f32, sum, bucket 1\n"
                         "      ranks 0-{} ",
                         odd - 1)));
    CHECK_THAT(card, ContainsSubstring(fmt::format(
                         "  call 3, all_reduce of 499 f32, sum, bucket 1\n"
                         "      rank {} ",
                         odd)));
  }
}

TEST_CASE("a rank that has thrown once makes no more calls") {
  const auto calls = [](Communicator& communicator, float* data) {
    const std::size_t count = communicator.rank() == 0 ? 5 : 6;
    std::string first;
    try {
      communicator.all_reduce(data, count, Dtype::kF32, ReduceOp::kSum);
    } catch (const MismatchError& error) {
      first = error.what();
    }
    try {
      communicator.barrier();
    } catch (const MismatchError& error) {
      RINGLET_CHECK(error.what() == first, "another error: {}", error.what());
      throw;
    }
  };
  for (const Outcome& outcome : outcomes(Setting(), calls)) {
    CHECK(!outcome.message.empty());
  }
}

TEST_CASE("a fault of one message: wrong, late or lost") {
  Setting setting{.ranks = 2, .ranks_per_host = 2};
  setting.fault = "rank=1,op=all_reduce#2,kind=flip,message=0";
  const auto flipped = outcomes(setting, &two_buckets);
  std::vector<float> expected(kCount, 2);
  CHECK((flipped[1].data == flipped[0].data));
  CHECK((flipped[0].data != expected));
  setting.fault = "rank=1,op=all_reduce#2,kind=delay:0.05,message=1";
  for (const Outcome& late : outcomes(setting, &two_buckets)) {
    CHECK((late.data == expected));
  }
}

TEST_CASE("a fault of one call: the result of one rank is wrong") {
  Setting setting;
  setting.fault = "rank=2,op=all_reduce#1,kind=flip";
  const auto all = outcomes(setting, &two_buckets);
  CHECK((all[0].data == std::vector<float>(kCount, 3)));
  CHECK((all[2].data != all[0].data));
}

// One rank stays away for as long as the others' watchdogs need; they count how
// often and how they end the job.
struct Hang {
  std::atomic<int> ended = 0;
  std::atomic<int> status = 0;

  GuardOptions guard() {
    GuardOptions options{.warn_seconds = 0.1, .timeout_seconds = 0.3};
    options.end = [this](int with) {
      status = with;
      ++ended;
    };
    return options;
  }
  void wait_for_end() const {
    while (ended == 0) std::this_thread::sleep_for(10ms);
  }
};

// The last rank stays away from an all-reduce. The crash card of the job.
std::string card_without_last_rank(Setting setting, Hang& hang) {
  const testing::TemporaryFolder folder;
  const std::string run = folder.path().string();
  spawn_guarded(setting, [&](Communicator& communicator) {
    communicator.keep_calls(run);
    std::vector<float> data(kCount);
    communicator.barrier();
    communicator.set_training_step(7);
    if (communicator.rank() == communicator.size() - 1) hang.wait_for_end();
    communicator.all_reduce(data.data(), kCount, Dtype::kF32, ReduceOp::kSum,
                            5);
  });
  // A good end after all: nothing is left but the card.
  CHECK(!std::filesystem::exists(call_log_folder(run)));
  return testing::read_file(crash_card_path(run));
}

// Also from another host.
TEST_CASE("a rank that does not come is named in the crash card") {
  for (Setting setting :
       {Setting{"ring", 3, 3}, Setting{"shared", 3, 3}, Setting{"ring", 3, 1},
        Setting{"hierarchical", 4, 2}, Setting{"ring", 5, 2}}) {
    INFO(setting.algorithm << " " << setting.ranks_per_host);
    Hang hang;
    setting.guard = hang.guard();
    if (setting.ranks_per_host < setting.ranks) {
      setting.guard.warn_seconds = 1;
      setting.guard.timeout_seconds = 2;
    }
    const std::string card = card_without_last_rank(setting, hang);
    CHECK(hang.status == kHangStatus);
    CHECK_THAT(card,
               ContainsSubstring("hang: rank 0 has waited ") &&
                   ContainsSubstring(fmt::format(
                       "in call 2, all_reduce of 1000 f32, sum, bucket 5 (step "
                       "7) for rank {}, which has not come to it: process ",
                       setting.ranks - 1)));
    CHECK_THAT(card, ContainsSubstring("it left call 1, barrier;") ||
                         ContainsSubstring("it left call 1, barrier\n"));
    CHECK_THAT(card, ContainsSubstring("not there"));
    for (int rank = 0; rank < setting.ranks; ++rank) {
      CHECK_THAT(card,
                 ContainsSubstring(fmt::format("\n  {}   process ", rank)));
    }
  }
}

// As where its host has stopped.
TEST_CASE("a rank of which nothing is heard is named") {
  Hang hang;
  Setting setting{"ring", 3, 1};
  setting.guard = hang.guard();
  setting.guard.warn_seconds = setting.guard.timeout_seconds = 1;
  setting.unwatched = 2;
  const std::string card = card_without_last_rank(setting, hang);
  CHECK_THAT(card,
             ContainsSubstring("(step 7) for rank 2, of which nothing has "
                               "been heard; it has come to all calls "
                               "before; no other is missing"));
  CHECK(hang.status == kHangStatus);
}

TEST_CASE("hosts whose watchdogs cannot talk say what each of them knows") {
  Hang hang;
  Setting setting{"ring", 3, 1};
  setting.guard = hang.guard();
  setting.watch_between_hosts = false;
  CHECK_THAT(
      card_without_last_rank(setting, hang),
      ContainsSubstring("bucket 5 (step 7); all ranks it knows of are in "
                        "it"));
  CHECK(hang.status == kHangStatus);
}

TEST_CASE("ranks that only take their time are left alone") {
  Hang hang;
  Setting setting;
  setting.guard = hang.guard();
  spawn_guarded(setting, [&](Communicator& communicator) {
    for (int step = 0; step < 4; ++step) {
      if (communicator.rank() == step % 3) std::this_thread::sleep_for(200ms);
      communicator.barrier();
    }
    std::this_thread::sleep_for(500ms);  // outside of all calls
  });
  CHECK(hang.ended == 0);
}

TEST_CASE("without a timeout nobody is watched") {
  Hang hang;
  Setting setting;
  setting.guard = hang.guard();
  setting.guard.timeout_seconds = 0;
  spawn_guarded(setting, [&](Communicator& communicator) {
    if (communicator.rank() == 0) std::this_thread::sleep_for(500ms);
    communicator.barrier();
  });
  CHECK(hang.ended == 0);
}

}  // namespace
}  // namespace ringlet
