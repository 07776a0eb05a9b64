#include "collectives/backoff.h"

#include <algorithm>
#include <thread>

namespace ringlet {
namespace {

constexpr int kSpinsAlone = 100;
constexpr int kSpinsShared = 1;
constexpr std::chrono::microseconds kLongestSleep{500};

void spin_once() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

int spin_budget(int ranks_on_host, int threads_per_rank, int cores) {
  return ranks_on_host * threads_per_rank <= cores ? kSpinsAlone : kSpinsShared;
}

void Backoff::pause(bool urgent) {
  if (spins_left_ > 0) {
    --spins_left_;
    spin_once();
  } else if (urgent) {
    std::this_thread::yield();
  } else {
    std::this_thread::sleep_for(sleep_);
    sleep_ = std::min(2 * sleep_, kLongestSleep);
  }
}

}  // namespace ringlet
