#include "apps/signals.h"

#include <unistd.h>

#include <csignal>
#include <string_view>

#include "collectives/guard/watchdog.h"
#include "collectives/mpi_scope.h"

namespace ringlet {
namespace {

static_assert(std::atomic<bool>::is_always_lock_free,
              "what a signal handler sets");
TrainRequests requests;

void ask(int signal) {
  if (signal == SIGUSR1) {
    requests.save = true;
    return;
  }
  requests.stop = true;
  if (signal == SIGUSR2) return;
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
  constexpr std::string_view kText =
      "\nringlet: saving after this step; once more ends it at once\n";
  [[maybe_unused]] const auto written =
      ::write(STDERR_FILENO, kText.data(), kText.size());
}

}  // namespace

TrainRequests& requests_by_signal() {
  std::signal(SIGUSR1, &ask);
  std::signal(SIGUSR2, &ask);
  if (!launch_info().launcher.empty()) {
    Watchdog::handle_sigterm();
  } else {
    for (const int signal : {SIGINT, SIGTERM}) {
      // What the starter has set to be ignored stays so.
      if (std::signal(signal, &ask) == SIG_IGN) std::signal(signal, SIG_IGN);
    }
  }
  return requests;
}

}  // namespace ringlet
