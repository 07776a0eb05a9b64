#include "collectives/guard/watchdog.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <semaphore>
#include <utility>

#include "collectives/guard/crash_card.h"
#include "collectives/guard/diagnosis.h"

namespace ringlet {
namespace {

constexpr std::chrono::milliseconds kTick{100};
// Until a rank that waits looks how the others are.
constexpr double kSecondsToLook = 0.3;
// Until the job ends where one is gone: the launcher is usually faster.
constexpr double kSecondsWithoutRank = 3;
// For the one that knows most to speak, until the others end the job.
constexpr double kGrace = 2;
// Between two words to other hosts, at most; a host that has missed two is not
// heard of.
constexpr double kSecondsToTell = 1;
constexpr int kWordsToMiss = 2;
const std::string kGone = "a rank is gone: ";

std::int64_t nanoseconds(double seconds) {
  return static_cast<std::int64_t>(1e9 * seconds);
}

std::atomic<bool> terminating = false;
std::atomic<int> watchdogs = 0;

// With as little as can be: other threads may hold any lock.
void say(const std::string& text) {
  [[maybe_unused]] const auto written =
      ::write(STDERR_FILENO, text.data(), text.size());
}

// What the program has printed is not to be lost, unless it is at it.
void flush_output() {
  if (ftrylockfile(stdout) != 0) return;
  std::fflush(stdout);
  funlockfile(stdout);
}

[[noreturn]] void end_process(int status) {
  flush_output();
  std::_Exit(status);
}

}  // namespace

class Watchdog::Watch {
 public:
  Watch(std::vector<WatchedRank> ranks, std::size_t self,
        std::function<int()> waiting_for, WatchdogOptions options,
        HostExchange* exchange)
      : ranks_(std::move(ranks)),
        self_(self),
        waiting_for_(std::move(waiting_for)),
        options_(std::move(options)),
        exchange_(exchange),
        first_look_(std::min(
            {options_.warn_seconds, options_.timeout_seconds, kSecondsToLook})),
        period_(nanoseconds(std::clamp(
            std::min(options_.warn_seconds, options_.timeout_seconds) / 4,
            1e-3 * static_cast<double>(kTick.count()), kSecondsToTell))) {
    if (!options_.end) options_.end = &end_process;
    for (const WatchedRank& rank : ranks_) {
      if (rank.here) own_host_.push_back(rank.log);
    }
  }

  void run() {
    do {
      own().beat(waiting_for_());
      exchange();
      look();
    } while (!stop_.try_acquire_for(kTick));
  }

  void stop() { stop_.release(); }

 private:
  CallLog& own() { return ranks_[self_].log; }

  // Without it, a host looks after itself.
  void exchange() {
    if (exchange_ == nullptr) return;
    try {
      exchange_->turn(own_host_, period_);
    } catch (const std::exception&) {
      exchange_ = nullptr;
    }
  }

  void look() {
    if (terminating) return terminate();
    const RankRecord self = own().rank();
    if (!self.in_call()) return;
    const std::int64_t now = host_now();
    const double waited = 1e-9 * static_cast<double>(now - self.last.begin);
    if (waited < first_look_) return;
    const std::vector<RankReport> reports = report(now);
    // The call may have ended while the others were looked at.
    const RankRecord& still = reports[self_].record;
    if (!still.in_call() || still.last.number != self.last.number) return;
    const Diagnosis found = diagnose(reports, self_, now);
    const double timeout =
        found.gone ? std::min(kSecondsWithoutRank, options_.timeout_seconds)
                   : options_.timeout_seconds;
    const std::size_t first = speaker(reports, self_, found, now);
    const bool mine = self_ == first;
    const double deadline = timeout + (mine && found.sure ? 0 : kGrace);
    // Who came later than this rank, and is to speak, has its time too.
    const std::int64_t since =
        mine || first == reports.size()
            ? self.last.begin
            : std::max(self.last.begin, reports[first].record.last.begin);
    if (now - since >= nanoseconds(deadline)) {
      end(mine, "hang: " + found.text, found.advice, kHangStatus);
    } else if (mine && found.gone) {
      tell(kGone + found.text, found.advice);
    } else if (mine && waited >= options_.warn_seconds &&
               warned_ != self.last.number) {
      warned_ = self.last.number;
      say(fmt::format(
          "ringlet: warning: {}. The job ends in {:.0f} s (--timeout {})\n",
          found.text, deadline - waited, options_.timeout_seconds));
    }
  }

  // Somebody has ended the job: because a rank has died, or for a reason of his
  // own, about which there is nothing to say. A rank's death only its host
  // sees.
  void terminate() {
    const std::int64_t now = host_now();
    std::vector<RankReport> reports = report(now);
    const int self = reports[self_].record.rank;
    std::erase_if(reports, [](const RankReport& rank) {
      return rank.record.seen != 0 || !rank.heard;
    });
    const Diagnosis dead = diagnose_death(reports, now);
    const auto first = std::find_if(
        reports.begin(), reports.end(), [](const RankReport& rank) {
          return rank.process == ProcessState::kRuns;
        });
    const bool mine = first != reports.end() && first->record.rank == self;
    end(dead.gone && mine && !have_told(reports), kGone + dead.text,
        dead.advice, kTerminatedStatus);
  }

  // What other hosts have said counts if it is newer than this rank's call, and
  // than what may have been under way then.
  std::vector<RankReport> report(std::int64_t now) {
    const std::int64_t since = std::max(
        own().rank().last.begin + std::chrono::nanoseconds(kTick).count(),
        now - (1 + kWordsToMiss) * period_);
    std::vector<RankReport> reports;
    for (const WatchedRank& watched : ranks_) {
      RankReport& rank = reports.emplace_back();
      rank.heard = watched.log.started();
      if (rank.heard) rank.record = watched.log.rank();
      rank.record.rank = watched.rank;
      if (!watched.here) {
        rank.process = rank.record.process_then;
        rank.heard = rank.record.seen > since;
      } else if (rank.heard) {
        rank.process =
            state_of_process(rank.record.process, rank.record.process_start);
      }
    }
    return reports;
  }

  void end(bool speak, const std::string& verdict, const std::string& advice,
           int status) {
    if (speak) tell(verdict, advice);
    own().mark_ending();
    options_.end(status);
  }

  void tell(const std::string& verdict, const std::string& advice) {
    own().mark_told();
    std::vector<CallLog> logs;
    for (const WatchedRank& rank : ranks_) logs.push_back(rank.log);
    const std::string card = crash_card(verdict, advice, logs);
    if (options_.run.empty()) {
      return say(fmt::format("{}\nringlet: {}\n", card, verdict));
    }
    const std::string path = crash_card_path(options_.run);
    std::ofstream(path) << card;
    say(fmt::format("ringlet: {}; more in {}\n", verdict, path));
  }

  std::vector<WatchedRank> ranks_;
  std::vector<CallLog> own_host_;
  std::size_t self_;
  std::function<int()> waiting_for_;
  WatchdogOptions options_;
  HostExchange* exchange_;
  double first_look_;
  std::int64_t period_;
  std::uint64_t warned_ = 0;  // of this call
  std::binary_semaphore stop_{0};
};

Watchdog::Watchdog(std::vector<WatchedRank> ranks, std::size_t self,
                   std::function<int()> waiting_for, WatchdogOptions options,
                   HostExchange* exchange)
    : watch_(std::make_unique<Watch>(std::move(ranks), self,
                                     std::move(waiting_for), std::move(options),
                                     exchange)),
      thread_([watch = watch_.get()] { watch->run(); }) {
  ++watchdogs;
}

Watchdog::~Watchdog() {
  watch_->stop();
  thread_.join();
  --watchdogs;
}

void Watchdog::handle_sigterm() {
  std::signal(SIGTERM, [](int signal) {
    terminating = true;
    if (watchdogs > 0) return;
    std::signal(signal, SIG_DFL);
    std::raise(signal);
  });
}

}  // namespace ringlet
