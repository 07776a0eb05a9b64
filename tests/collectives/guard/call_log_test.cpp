#include "collectives/guard/call_log.h"

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <vector>

#include "collectives/guard/crash_card.h"
#include "collectives/guard/diagnosis.h"
#include "collectives/guard/process_state.h"
#include "kernels/runtime/error.h"
#include "support/catch.h"
#include "support/files.h"

namespace ringlet {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

Collective bucket(int tag) {
  return {.kind = CollectiveKind::kAllReduce,
          .count = 1000,
          .dtype = Dtype::kF32,
          .op = ReduceOp::kSum,
          .tag = tag};
}

// A log in memory of its own.
class OwnLog {
 public:
  OwnLog(int rank, int size) : memory_(CallLog::kBytes), log_(memory_.data()) {
    log_.start(rank, size, "ringlet 0.0, some MPI");
  }
  CallLog& log() { return log_; }
  const std::vector<std::byte>& memory() const { return memory_; }

 private:
  std::vector<std::byte> memory_;
  CallLog log_;
};

TEST_CASE("a log holds what its rank is and does") {
  OwnLog own(2, 5);
  CallLog& log = own.log();
  RankRecord rank = log.rank();
  CHECK((rank.rank == 2 && rank.size == 5 && rank.process == getpid()));
  CHECK(rank.versions == "ringlet 0.0, some MPI");
  CHECK((rank.last.number == 0 && !rank.in_call()));
  CHECK(log.calls().empty());

  log.set_training_step(41);
  log.begin(bucket(3));
  rank = log.rank();
  CHECK((rank.in_call() && rank.last.number == 1));
  CHECK(describe(rank.last) ==
        "call 1, all_reduce of 1000 f32, sum, bucket 3 (step 41)");
  log.end();
  rank = log.rank();
  CHECK((!rank.in_call() && rank.last.end >= rank.last.begin));
  log.begin({.kind = CollectiveKind::kReduce, .count = 3, .root = 1});
  log.fail();
  rank = log.rank();
  CHECK((rank.failed && !rank.in_call()));
  CHECK(describe(rank.last.call) == "reduce of 3 u8, sum to rank 1");
  log.beat(4);
  CHECK(log.rank().waiting_for == 4);
}

TEST_CASE("a log keeps the last calls, and a file of it is read again") {
  OwnLog own(0, 1);
  for (int i = 0; i < 1000; ++i) {
    own.log().begin(bucket(i));
    own.log().end();
  }
  const testing::TemporaryFolder folder;
  const std::string path = (folder.path() / "rank-0").string();
  const std::string bytes(reinterpret_cast<const char*>(own.memory().data()),
                          own.memory().size());
  testing::write_file(path, bytes);
  const std::vector<CallRecord> calls = CallLog::read(path).calls();
  REQUIRE(calls.size() == CallLog::kCalls - 1);
  for (std::size_t i = 0; i < calls.size(); ++i) {
    CHECK(calls[i].number == 1000 - calls.size() + 1 + i);
    CHECK(calls[i].call.tag == static_cast<int>(calls[i].number) - 1);
  }

  testing::write_file(path, bytes.substr(1));
  CHECK_THROWS_WITH(CallLog::read(path),
                    path + ": expected a rank's last calls, a file of " +
                        std::to_string(CallLog::kBytes) + " bytes");
  testing::write_file(path, std::string(CallLog::kBytes, 'x'));
  CHECK_THROWS_WITH(CallLog::read(path),
                    path + ": is no record of a rank's calls");
}

TEST_CASE("a log moves to other memory with all it holds") {
  OwnLog own(1, 2);
  own.log().begin(bucket(8));
  std::vector<std::byte> memory(CallLog::kBytes);
  own.log().move_to(memory.data());
  own.log().end();
  const CallLog moved(memory.data());
  CHECK((moved.started() && moved.rank().rank == 1));
  CHECK((moved.calls().size() == 1 && moved.calls()[0].call.tag == 8));
  CHECK(moved.calls()[0].end > 0);
}

TEST_CASE("a copy of a log holds its last calls, on another clock") {
  OwnLog own(1, 2);
  for (int i = 0; i < 20; ++i) {
    own.log().begin(bucket(i));
    if (i < 19) own.log().end();
  }
  own.log().beat(0);
  constexpr std::size_t kCalls = 8;
  std::vector<std::byte> memory(CallLog::kHeaderBytes +
                                kCalls * CallLog::kCallBytes);
  CallLog copy(memory.data(), kCalls);
  CHECK(!copy.started());
  copy.take(own.log(), 5 * kSecond, 7, ProcessState::kStopped);
  const RankRecord there = own.log().rank(), here = copy.rank();
  CHECK((here.rank == 1 && here.size == 2 && here.process == getpid() &&
         here.host == there.host && here.versions == there.versions));
  CHECK((there.seen == 0 && here.seen == 7));
  CHECK(here.process_then == ProcessState::kStopped);
  CHECK((here.in_call() && here.last.number == 20 && here.waiting_for == 0));
  CHECK(here.heartbeat == there.heartbeat + 5 * kSecond);
  CHECK(here.last.begin == there.last.begin + 5 * kSecond);
  CHECK(std::abs(here.wall_clock - there.wall_clock) < kSecond);
  const std::vector<CallRecord> calls = copy.calls();
  const std::vector<CallRecord> all = own.log().calls();
  REQUIRE((calls.size() == kCalls - 1 && all.size() == 20));
  for (std::size_t i = 0; i < calls.size(); ++i) {
    const CallRecord& call = all[i + 13];
    CHECK(
        (calls[i].number == call.number && calls[i].call.tag == call.call.tag));
    CHECK(calls[i].end == (i == 6 ? 0 : call.end + 5 * kSecond));
  }
}

TEST_CASE("what the system knows of a process") {
  const std::uint64_t start = start_of_process(getpid());
  CHECK(start > 0);
  CHECK(state_of_process(getpid(), start) == ProcessState::kRuns);
  // Another process that had the number before.
  CHECK(state_of_process(getpid(), start - 1) == ProcessState::kGone);

  const pid_t child = fork();
  if (child == 0) {
    for (;;) pause();
  }
  const std::uint64_t began = start_of_process(child);
  CHECK(state_of_process(child, began) == ProcessState::kRuns);
  kill(child, SIGSTOP);
  waitpid(child, nullptr, WUNTRACED);
  CHECK(state_of_process(child, began) == ProcessState::kStopped);
  kill(child, SIGKILL);
  siginfo_t info;
  waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT);
  CHECK(state_of_process(child, began) == ProcessState::kGone);  // a zombie
  waitpid(child, nullptr, 0);
  CHECK(state_of_process(child, began) == ProcessState::kGone);
}

// Rank `rank` of four, `seconds` ago in or, with `end`, out of a call.
RankReport report(int rank, std::uint64_t call, bool left) {
  RankReport found;
  found.record.rank = rank;
  found.record.size = 4;
  found.record.host = "h0";
  found.record.process = 100 + rank;
  found.record.heartbeat = 100 * kSecond;
  found.record.last = {.number = call,
                       .call = bucket(3),
                       .begin = 88 * kSecond,
                       .end = left ? 89 * kSecond : 0};
  return found;
}

TEST_CASE("who has not come to a call is named, and how it is") {
  const std::int64_t now = 100 * kSecond;
  std::vector<RankReport> ranks{report(0, 7, false), report(1, 6, true),
                                report(2, 7, false), report(3, 7, false)};
  const std::string start =
      "rank 0 has waited 12.0 s in call 7, all_reduce of 1000 f32, sum, bucket "
      "3 for rank 1, which has not come to it: process 101 on h0 ";
  const std::string seen =
      "; 11.0 s ago it left call 6, all_reduce of 1000 f32, sum, bucket 3";
  Diagnosis found = diagnose(ranks, 0, now);
  CHECK(found.guilty == std::vector{1});
  CHECK(found.text == start + "runs" + seen);
  CHECK(!found.gone);
  ranks[1].process = ProcessState::kStopped;
  CHECK(diagnose(ranks, 0, now).text == start + "is stopped" + seen);
  CHECK_THAT(diagnose(ranks, 0, now).advice,
             StartsWith("kill -CONT 101 on h0"));
  ranks[1].process = ProcessState::kGone;
  found = diagnose(ranks, 0, now);
  CHECK((found.gone && found.text == start + "is gone" + seen));
  ranks[1].process = ProcessState::kRuns;
  ranks[1].record.heartbeat = 91 * kSecond;
  CHECK(diagnose(ranks, 0, now).text ==
        start + "runs, but its watchdog has been silent for 9.0 s" + seen);
  ranks[3] = report(3, 0, true);
  found = diagnose(ranks, 2, now);
  CHECK(found.guilty == std::vector{1, 3});
  CHECK_THAT(found.text,
             ContainsSubstring(", and for rank 3, which has not come to it: "
                               "process 103 on h0 runs; it has made no call"));
}

TEST_CASE("who holds up a call that all have come to is named") {
  const std::int64_t now = 100 * kSecond;
  std::vector<RankReport> ranks{report(0, 7, false), report(1, 7, false),
                                report(2, 7, false), report(3, 7, true)};
  ranks[0].record.waiting_for = 1;
  ranks[2].record.waiting_for = 0;
  Diagnosis found = diagnose(ranks, 0, now);
  CHECK(found.guilty == std::vector{1});
  CHECK_THAT(found.text,
             ContainsSubstring("for rank 1, which is in it and waits for "
                               "nobody: process 101 on h0 runs; it has been in "
                               "call 7,"));
  ranks[1].record.waiting_for = 2;
  found = diagnose(ranks, 0, now);
  CHECK(found.guilty.empty());
  CHECK_THAT(found.text, ContainsSubstring("; all ranks are in it: rank 0 for "
                                           "rank 1, rank 1 for rank 2, rank 2 "
                                           "for rank 0"));
  ranks[2].process = ProcessState::kStopped;
  CHECK(diagnose(ranks, 0, now).guilty == std::vector{2});
  // Who waits for whom is not known.
  for (RankReport& rank : ranks) rank.record.waiting_for = -1;
  CHECK(diagnose(ranks, 0, now).guilty == std::vector{2});
}

TEST_CASE(
    "of whom nothing has been heard is named where no other is to blame") {
  const std::int64_t now = 100 * kSecond;
  std::vector<RankReport> ranks{report(0, 7, false), report(1, 7, false),
                                report(2, 6, true), report(3, 6, true)};
  ranks[0].record.waiting_for = 2;
  ranks[1].record.waiting_for = 0;
  ranks[2].record.seen = 95 * kSecond;
  ranks[2].heard = ranks[3].heard = false;
  Diagnosis found = diagnose(ranks, 0, now);
  CHECK(found.guilty == std::vector{2, 3});
  CHECK(!found.sure);
  CHECK_THAT(
      found.text,
      EndsWith(" for rank 2, of which nothing has been heard for 5.0 s: "
               "process 102 on h0; 11.0 s ago it left call 6, all_reduce of "
               "1000 f32, sum, bucket 3, and for rank 3, of which nothing has "
               "been heard; no other is missing: rank 0 for rank 2, rank 1 "
               "for rank 0"));
  // What the ranks have agreed on is known of all.
  ranks[0].record.agreed = 6;
  CHECK_THAT(diagnose(ranks, 0, now).text,
             ContainsSubstring("102 on h0; it has come to all calls before, "));
  ranks[0].record.agreed = 7;
  CHECK_THAT(diagnose(ranks, 0, now).text,
             ContainsSubstring("been heard; it has come to it; no other"));
  // What is known counts first.
  ranks[3] = report(3, 6, true);
  CHECK(diagnose(ranks, 0, now).guilty == std::vector{3});
  CHECK(!diagnose(ranks, 0, now).sure);
  // But who is late because it waits itself is not to blame.
  ranks[3] = report(3, 6, false);
  ranks[3].record.waiting_for = 2;
  CHECK(diagnose(ranks, 0, now).guilty == std::vector{2});
  ranks[2].heard = true;
  CHECK(diagnose(ranks, 0, now).guilty == std::vector{2, 3});
  CHECK(diagnose(ranks, 0, now).sure);
}

TEST_CASE("one rank speaks, near a guilty one if there is any") {
  const std::int64_t now = 100 * kSecond;
  std::vector<RankReport> ranks{report(0, 7, false), report(1, 7, false),
                                report(2, 6, true), report(3, 7, false)};
  const auto who = [&] {
    return speaker(ranks, 1, diagnose(ranks, 1, now), now);
  };
  CHECK(who() == 0);
  ranks[2].record.host = ranks[3].record.host = "h1";
  CHECK(who() == 3);
  ranks[3].process = ProcessState::kStopped;
  CHECK(who() == 0);
  ranks[0].record.heartbeat = 91 * kSecond;
  CHECK(who() == 1);
  // As its host saw it then.
  ranks[0].record.seen = ranks[0].record.heartbeat + 1;
  CHECK(who() == 0);
  ranks[0].heard = false;
  CHECK(who() == 1);
  ranks[3].record.told = true;
  CHECK(who() == ranks.size());
}

TEST_CASE("who has died is not confused with who ends for it") {
  const std::int64_t now = 100 * kSecond;
  std::vector<RankReport> ranks{report(0, 7, false), report(1, 6, true),
                                report(2, 7, false)};
  CHECK(diagnose_death(ranks, now).guilty.empty());
  for (RankReport& rank : ranks) rank.process = ProcessState::kGone;
  ranks[0].record.ended = true;
  ranks[2].record.ending = true;
  const Diagnosis found = diagnose_death(ranks, now);
  CHECK((found.gone && found.guilty == std::vector{1}));
  CHECK_THAT(
      found.text,
      StartsWith("rank 1 has died: process 101 on h0 is gone; 11.0 s ago "
                 "it left call 6"));
}

TEST_CASE("a crash card sets the calls of all ranks side by side") {
  OwnLog first(0, 3), second(1, 3), third(2, 3);
  for (OwnLog* own : {&first, &second, &third}) {
    for (int tag = 0; tag < 3; ++tag) {
      own->log().begin(bucket(tag));
      own->log().end();
    }
  }
  first.log().begin(bucket(3));
  second.log().begin(bucket(4));
  const std::string card =
      crash_card("too bad", "again", {first.log(), second.log(), third.log()});
  CHECK_THAT(card, ContainsSubstring("verdict   too bad\ntry       again\n"
                                     "versions  ringlet 0.0, some MPI\n"));
  CHECK_THAT(card,
             ContainsSubstring(": in call 4, all_reduce of 1000 f32, sum, "
                               "bucket 4, since "));
  const std::string call = "  call 4, all_reduce of 1000 f32, sum, bucket ";
  CHECK_THAT(card, ContainsSubstring(call + "3\n      rank 0 ") &&
                       ContainsSubstring(call + "4\n      rank 1 ") &&
                       ContainsSubstring("      rank 2           not there\n"));
  CHECK_THAT(card,
             ContainsSubstring("bucket 2\n      ranks 0-2        entered "));
}

TEST_CASE("a crash card says what is old and what it cannot know") {
  OwnLog here(0, 2), there(1, 2);
  for (OwnLog* own : {&here, &there}) {
    own->log().begin(bucket(0));
    own->log().end();
  }
  std::vector<std::byte> memory(CallLog::kBytes);
  CallLog copy(memory.data());
  copy.take(there.log(), 0, host_now() - 8 * kSecond, ProcessState::kRuns);
  here.log().begin(bucket(1));
  here.log().agree();
  here.log().end();
  here.log().begin(bucket(2));
  const std::string card = crash_card("bad", "again", {here.log(), copy});
  CHECK_THAT(card,
             ContainsSubstring("before (as last heard of, 8.0 s before)"));
  // All have come to call 2, says the first rank.
  const std::size_t second = card.find("\n  call 2"),
                    third = card.find("\n  call 3");
  REQUIRE((second != std::string::npos && third != std::string::npos));
  CHECK(card.substr(second, third - second).find("rank 1") ==
        std::string::npos);
  CHECK_THAT(card.substr(third),
             ContainsSubstring("      rank 1           not heard of since\n"));
}

TEST_CASE("the last calls of a run are read from its folder") {
  const testing::TemporaryFolder folder;
  const std::string run = folder.path().string();
  CHECK_THROWS_WITH(
      read_call_logs(run),
      ContainsSubstring(run + "/calls: no record of calls there"));
  std::filesystem::create_directories(call_log_folder(run));
  std::vector<CallLog> logs;
  for (const int rank : {1, 0}) {
    OwnLog own(rank, 2);
    own.log().begin(bucket(rank));
    if (rank == 1) own.log().fail();
    testing::write_file(
        call_log_path(run, rank),
        {reinterpret_cast<const char*>(own.memory().data()), CallLog::kBytes});
  }
  logs = read_call_logs(run);
  REQUIRE(logs.size() == 2);
  CHECK((logs[0].rank().rank == 0 && logs[1].rank().rank == 1));
  CHECK(verdict_after_death(logs) == "a call failed on rank 1");
}

}  // namespace
}  // namespace ringlet
