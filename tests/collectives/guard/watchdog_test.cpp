#include "collectives/guard/watchdog.h"

#include <array>
#include <atomic>
#include <chrono>
#include <string>
#include <thread>

#include "collectives/guard/crash_card.h"
#include "support/catch.h"
#include "support/files.h"

namespace ringlet {
namespace {

using namespace std::chrono_literals;

constexpr std::int64_t kSecond = 1'000'000'000;

// The log of a rank that is in its second call, and began it some time ago; as
// another host saw it at the time `seen`, if that is not 0.
class RankLog {
 public:
  RankLog(int rank, int calls, std::int64_t ago, std::int64_t seen = 0)
      : log_(memory_.data()) {
    alignas(64) std::array<std::byte, CallLog::kBytes> memory{};
    CallLog now(memory.data());
    now.start(rank, 2, "ringlet");
    for (int call = 0; call < calls; ++call) {
      now.begin({.kind = CollectiveKind::kBarrier});
      if (call == 0) now.end();
    }
    log_.take(now, -ago, seen, ProcessState::kRuns);
    if (seen == 0) log_.beat(kNobody);
  }
  const CallLog& log() const { return log_; }

 private:
  alignas(64) std::array<std::byte, CallLog::kBytes> memory_{};
  CallLog log_;
};

TEST_CASE("what a host has said long ago is not believed") {
  const testing::TemporaryFolder folder;
  const std::string run = folder.path().string();
  const RankLog self(0, 2, 5 * kSecond);
  const RankLog silent(1, 1, 20 * kSecond, host_now() - 10 * kSecond);
  std::atomic<int> status = 0;
  {
    const Watchdog watchdog(
        {{0, self.log(), true}, {1, silent.log(), false}}, 0, [] { return 1; },
        {.warn_seconds = 0.3,
         .timeout_seconds = 0.3,
         .run = run,
         .end = [&](int with) { status = with; }},
        nullptr);
    while (status == 0) std::this_thread::sleep_for(10ms);
  }
  CHECK(status == kHangStatus);
  const std::string card = testing::read_file(crash_card_path(run));
  CHECK_THAT(card, ContainsSubstring("for rank 1, of which nothing has been "
                                     "heard for 10."));
}

TEST_CASE("who has waited longest leaves the speaker its time") {
  const RankLog speaker(0, 2, 0), self(1, 2, 22 * kSecond / 10);
  std::atomic<int> ends = 0;
  const Watchdog watchdog(
      {{0, speaker.log(), true}, {1, self.log(), true}}, 1,
      [] { return kNobody; },
      {.warn_seconds = 0.3,
       .timeout_seconds = 0.3,
       .run = "",
       .end = [&](int) { ++ends; }},
      nullptr);
  std::this_thread::sleep_for(600ms);
  CHECK(ends == 0);
}

}  // namespace
}  // namespace ringlet
