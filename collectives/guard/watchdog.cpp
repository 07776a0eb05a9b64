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
  Watch(std::vector<CallLog> ranks, std::size_t self,
        std::function<int()> waiting_for, WatchdogOptions options)
      : ranks_(std::move(ranks)),
        self_(self),
        waiting_for_(std::move(waiting_for)),
        options_(std::move(options)) {
    if (!options_.end) options_.end = &end_process;
  }

  void run() {
    do {
      ranks_[self_].beat(waiting_for_());
      look();
    } while (!stop_.try_acquire_for(kTick));
  }

  void stop() { stop_.release(); }

 private:
  void look() {
    if (terminating) return terminate();
    const RankRecord own = ranks_[self_].rank();
    if (!own.in_call()) return;
    const std::int64_t now = host_now();
    const double waited = 1e-9 * static_cast<double>(now - own.last.begin);
    if (waited < std::min({options_.warn_seconds, options_.timeout_seconds,
                           kSecondsToLook})) {
      return;
    }
    const std::vector<RankReport> reports = report();
    const Diagnosis found = diagnose(reports, self_, now);
    const double timeout =
        found.gone ? std::min(kSecondsWithoutRank, options_.timeout_seconds)
                   : options_.timeout_seconds;
    const bool mine = speaks(reports, [&](const RankReport& rank) {
      return rank.record.in_call() && can_speak(rank, now) &&
             rank.record.last.number == own.last.number;
    });
    // Where it is a rank of another host, that host knows more.
    const bool known = !found.guilty.empty() ||
                       reports.size() == static_cast<std::size_t>(own.size);
    if (waited >= timeout + (mine && known ? 0 : kGrace)) {
      end(mine, "hang: " + found.text, found.advice, kHangStatus);
    } else if (mine && found.gone) {
      tell("a rank is gone: " + found.text, found.advice);
    } else if (mine && waited >= options_.warn_seconds &&
               warned_ != own.last.number) {
      warned_ = own.last.number;
      say(fmt::format("ringlet: {}. The job ends in {:.0f} s (--timeout {})\n",
                      found.text, timeout - waited, options_.timeout_seconds));
    }
  }

  // Somebody has ended the job: because a rank has died, or for a reason of his
  // own, about which there is nothing to say.
  void terminate() {
    const std::vector<RankReport> reports = report();
    const Diagnosis dead = diagnose_death(reports, host_now());
    const bool mine = speaks(reports, [](const RankReport& rank) {
      return rank.process == ProcessState::kRuns;
    });
    end(mine && dead.gone, dead.text, dead.advice, kTerminatedStatus);
  }

  // A log that is not begun yet is of a rank that is about to.
  std::vector<RankReport> report() const {
    std::vector<RankReport> reports;
    for (const CallLog& log : ranks_) {
      RankReport& rank = reports.emplace_back();
      if (!log.started()) continue;
      rank.record = log.rank();
      rank.process =
          state_of_process(rank.record.process, rank.record.process_start);
    }
    return reports;
  }

  // Whether this one is the first of those that can; not after another.
  template <typename Able>
  bool speaks(const std::vector<RankReport>& reports, const Able& able) const {
    const auto self = reports.begin() + static_cast<std::ptrdiff_t>(self_);
    return std::none_of(reports.begin(), self, able) &&
           std::none_of(reports.begin(), reports.end(),
                        [](const RankReport& r) { return r.record.told; });
  }

  void end(bool speak, const std::string& verdict, const std::string& advice,
           int status) {
    if (speak) tell(verdict, advice);
    ranks_[self_].mark_ending();
    options_.end(status);
  }

  void tell(const std::string& verdict, const std::string& advice) {
    ranks_[self_].mark_told();
    const std::string card = crash_card(verdict, advice, ranks_);
    if (options_.run.empty()) {
      return say(fmt::format("{}\nringlet: {}\n", card, verdict));
    }
    const std::string path = crash_card_path(options_.run);
    std::ofstream(path) << card;
    say(fmt::format("ringlet: {}; more in {}\n", verdict, path));
  }

  std::vector<CallLog> ranks_;
  std::size_t self_;
  std::function<int()> waiting_for_;
  WatchdogOptions options_;
  std::uint64_t warned_ = 0;  // of this call
  std::binary_semaphore stop_{0};
};

Watchdog::Watchdog(std::vector<CallLog> ranks, std::size_t self,
                   std::function<int()> waiting_for, WatchdogOptions options)
    : watch_(std::make_unique<Watch>(
          std::move(ranks), self, std::move(waiting_for), std::move(options))),
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
