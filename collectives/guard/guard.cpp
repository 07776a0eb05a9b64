#include "collectives/guard/guard.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "collectives/backoff.h"
#include "collectives/forwarding_collectives.h"
#include "collectives/guard/call_check.h"
#include "collectives/guard/call_log.h"
#include "collectives/guard/crash_card.h"
#include "collectives/guard/host_exchange.h"
#include "collectives/guard/watchdog.h"
#include "collectives/host_groups.h"
#include "collectives/host_memory.h"
#include "collectives/mpi_version.h"
#include "kernels/runtime/threads.h"

namespace ringlet {
namespace {

// For the word of other hosts, who speak once a second, and for one rank to
// write down what it knows.
constexpr std::chrono::milliseconds kToHear{1500}, kToWrite{3000};

class GuardedCollectives final : public ForwardingCollectives {
 public:
  GuardedCollectives(std::unique_ptr<HostCollectives> inner,
                     std::unique_ptr<Transport> control,
                     std::unique_ptr<Transport> watch,
                     const GuardOptions& options)
      : ForwardingCollectives(std::move(inner)),
        options_(options),
        control_(std::move(control)),
        watch_(std::move(watch)),
        log_(share_logs()) {
    const auto hosts = group_by_host(*control_, memory_->ranks());
    if (watch_ && hosts.size() > 1 && options.timeout_seconds != 0) {
      listen_to(hosts);
    }
    log_.start(rank(), size(),
               fmt::format("ringlet {}, {}", RINGLET_VERSION, mpi_version()));
    if (options.check_calls && !ForwardingCollectives::agrees_on_calls()) {
      check_ = std::make_unique<CallCheck>(
          *memory_, *control_, hosts,
          spin_budget(memory_->size(), kernel_threads(), host_cores()));
    }
    start_watchdog("");
  }

  ~GuardedCollectives() override {
    if (!unwinding_) return;
    give_up();
  }

  void run(const Collective& call) override {
    log_.begin(call);
    try {
      if (check_) {
        check_->agree_on(call);
        log_.agree();
      }
      inner().run(call);
    } catch (const MismatchError& error) {
      log_.fail();
      throw MismatchError(error.what() + leave_card(error.what()));
    } catch (...) {
      log_.fail();
      throw;
    }
    log_.end();
  }

  // A rank that still has calls to make finds here that this one has none.
  void finish() override {
    run({.kind = CollectiveKind::kBarrier, .tag = kLastCall});
    inner().finish();
    watchdog_.reset();
    log_.finish();
    if (exchange_) exchange_->close(logs_);
    if (run_.empty()) return;
    std::error_code ignored;  // the folder stays until its last file is gone
    std::filesystem::remove(call_log_path(run_, rank()), ignored);
    std::filesystem::remove(call_log_folder(run_), ignored);
  }

  bool cancel() noexcept override {
    if (check_) check_->cancel();
    give_up();
    return inner().cancel();
  }
  void set_urgent(bool urgent) override {
    if (check_) check_->set_urgent(urgent);
    inner().set_urgent(urgent);
  }
  int waiting_for() const override {
    const int here = check_ ? check_->waiting_for() : kNobody;
    return here != kNobody ? here : inner().waiting_for();
  }

  void set_training_step(std::int64_t step) override {
    log_.set_training_step(step);
  }

  void keep_calls(const std::string& run) override {
    watchdog_.reset();
    try {
      std::filesystem::create_directories(call_log_folder(run));
      log_.move_to(share(call_log_path(run, rank())));
      run_ = run;
    } catch (const std::exception& error) {
      if (memory_->rank() == 0) {
        fmt::print(stderr,
                   "ringlet: warning: calls will be lost with the ranks: {}\n",
                   error.what());
      }
    }
    start_watchdog(run);
  }

 private:
  // After an error, of which this rank itself has to speak.
  void give_up() noexcept {
    log_.mark_told();
    log_.mark_ending();
    if (check_) check_->give_up();
  }

  // Where ranks cannot map each other's memory, each has its own.
  CallLog share_logs() {
    memory_ = std::make_unique<HostMemory>(control_->host_ranks(), rank());
    try {
      return CallLog(share(""));
    } catch (const Error&) {
      memory_ = std::make_unique<HostMemory>(std::vector<int>{rank()}, rank());
      return CallLog(share(""));
    }
  }

  // Memory for this rank's log.
  std::byte* share(const std::string& path) {
    const Buffer own = memory_->allocate(*control_, CallLog::kBytes, path);
    const SharedPlace place = *memory_->find(own.data(), own.bytes());
    logs_.clear();
    for (int r = 0; r < memory_->size(); ++r) {
      logs_.emplace_back(memory_->at(r, place));
    }
    return own.data();
  }

  // All ranks know what has happened. One writes it down, when it has heard of
  // all that it can hear of; the others, whose end may be the job's, wait for
  // it, but not for long.
  std::string leave_card(const std::string& mismatch) {
    if (run_.empty()) {
      log_.mark_told();  // for others, who may have a folder
      return "";
    }
    const std::string path = crash_card_path(run_);
    const std::vector<WatchedRank> ranks = watched_ranks();
    if (rank() > 0) {
      if (ranks.front().rank == 0) {
        const CallLog& writer = ranks.front().log;
        wait_for(kToWrite,
                 [&] { return writer.started() && writer.rank().told; });
      }
      return "; more in " + path;
    }
    const std::uint64_t call = log_.rank().last.number;
    std::vector<CallLog> logs;
    for (const WatchedRank& watched : ranks) logs.push_back(watched.log);
    if (watchdog_) {
      wait_for(kToHear, [&] {
        return std::all_of(logs.begin(), logs.end(), [&](const CallLog& log) {
          return log.started() && log.rank().last.number >= call;
        });
      });
    }
    std::ofstream(path) << crash_card(
        mismatch,
        "the programs of the ranks have parted before this call: compare what "
        "they did after the last one that was the same",
        logs);
    log_.mark_told();
    return "; more in " + path;
  }

  static void wait_for(std::chrono::milliseconds most, const auto& done) {
    const auto until = std::chrono::steady_clock::now() + most;
    while (!done() && std::chrono::steady_clock::now() < until) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }

  // What is heard of the ranks of other hosts lies in memory that this one
  // shares; its first rank does the talking.
  void listen_to(const std::vector<std::vector<int>>& hosts) {
    const auto all = static_cast<std::size_t>(size());
    const std::size_t bytes = all * HostExchange::kBytes;
    const Buffer own = memory_->allocate(*control_, bytes);
    heard_ = memory_->at(0, *memory_->find(own.data(), bytes));
    if (memory_->rank() > 0) return;
    exchange_.emplace(*watch_, hosts, heard_);
  }

  // All ranks that this one can know of, rising.
  std::vector<WatchedRank> watched_ranks() const {
    std::vector<WatchedRank> ranks;
    for (int r = 0; r < size(); ++r) {
      const auto here =
          std::find(memory_->ranks().begin(), memory_->ranks().end(), r);
      if (here != memory_->ranks().end()) {
        ranks.push_back(
            {r,
             logs_[static_cast<std::size_t>(here - memory_->ranks().begin())],
             true});
      } else if (heard_ != nullptr) {
        std::byte* copy =
            heard_ + static_cast<std::size_t>(r) * HostExchange::kBytes;
        ranks.push_back({r, CallLog(copy, HostExchange::kCalls), false});
      }
    }
    return ranks;
  }

  void start_watchdog(const std::string& run) {
    if (options_.timeout_seconds == 0) return;
    std::vector<WatchedRank> ranks = watched_ranks();
    const auto self = std::find_if(
        ranks.begin(), ranks.end(),
        [&](const WatchedRank& watched) { return watched.rank == rank(); });
    const auto place = static_cast<std::size_t>(self - ranks.begin());
    watchdog_.emplace(
        std::move(ranks), place, [this] { return waiting_for(); },
        WatchdogOptions{options_.warn_seconds, options_.timeout_seconds, run,
                        options_.end},
        exchange_ ? &*exchange_ : nullptr);
  }

  GuardOptions options_;
  std::unique_ptr<Transport> control_;
  std::unique_ptr<Transport> watch_;  // null where hosts do not talk
  std::unique_ptr<HostMemory> memory_;
  std::vector<CallLog> logs_;   // of the ranks that share memory
  CallLog log_;                 // this one's
  std::byte* heard_ = nullptr;  // of other hosts' ranks; null: nothing
  std::optional<HostExchange> exchange_;
  std::unique_ptr<CallCheck> check_;  // null where there is nothing to check
  std::string run_;                   // where calls are kept; empty: nowhere
  std::optional<Watchdog> watchdog_;
  Unwinding unwinding_;
};

}  // namespace

std::unique_ptr<HostCollectives> make_guarded_collectives(
    std::unique_ptr<HostCollectives> collectives,
    std::unique_ptr<Transport> control, std::unique_ptr<Transport> watch,
    const GuardOptions& options) {
  return std::make_unique<GuardedCollectives>(
      std::move(collectives), std::move(control), std::move(watch), options);
}

}  // namespace ringlet
