#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "collectives/guard/call_log.h"
#include "collectives/guard/host_exchange.h"

namespace ringlet {

// Exit statuses of a job that the guard has ended; a rank that was asked to end
// has the shell's for SIGTERM.
inline constexpr int kHangStatus = 86;
inline constexpr int kMismatchStatus = 87;
inline constexpr int kTerminatedStatus = 143;

struct WatchdogOptions {
  double warn_seconds = 10;
  double timeout_seconds = 60;  // 0: no watchdog
  std::string run;              // where the crash card goes; empty: to stderr
  // How the job ends; null: this process, at once, with the status.
  std::function<void(int status)> end = nullptr;
};

// A rank of the job, and what is known of it.
struct WatchedRank {
  int rank;
  CallLog log;  // its own, or a copy of what its host says
  bool here;    // on this host
};

// Looks ten times a second whether this rank is held up in a call, from a
// thread of its own, also while the rank's other threads hang. Then one rank,
// the first that waits and can speak, on the missing rank's host if there is
// one, says after a while which rank is missing,
// in which call, and where it was last seen; when the time is up it says so
// again, writes the crash card and ends the job with kHangStatus. Where a
// missing rank's process is gone, neither waits long.
//
// Where the launcher ends the job because a rank has died, the first of the
// others says which one, if its program lets it (handle_sigterm).
//
// A rank that hangs elsewhere, outside of all calls, is missed by the others.
// So is one that hangs inside of MPI so that no other thread gets in, if it is
// the first of its host and there are several.
class Watchdog {
 public:
  // `ranks`, rising, are those of this host, or of the job; `self` is the place
  // of this one among them. `waiting_for` may be asked at any time. `exchange`,
  // which outlives the watchdog, is null where nothing is heard of other hosts.
  Watchdog(std::vector<WatchedRank> ranks, std::size_t self,
           std::function<int()> waiting_for, WatchdogOptions options,
           HostExchange* exchange);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // From here on SIGTERM, by which launchers end a job, leaves it to a watchdog
  // to end this process, where there is one.
  static void handle_sigterm();

 private:
  class Watch;

  std::unique_ptr<Watch> watch_;
  std::thread thread_;
};

}  // namespace ringlet
