#include "bench/allreduce_perf/timeout.h"

#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <utility>

#include "collectives/mpi_scope.h"

namespace ringlet {

Timeout::Timeout(double seconds, std::function<std::string()> what) {
  if (seconds <= 0) return;
  thread_ = std::thread([this, seconds, what = std::move(what)] {
    std::unique_lock lock(mutex_);
    const std::chrono::duration<double> limit(seconds);
    if (changed_.wait_for(lock, limit, [this] { return over_; })) return;
    fmt::print(stderr, "allreduce_perf: rank {}: {} took more than {} s (-T)\n",
               launch_info().rank, what(), seconds);
    abort_job(1);
  });
}

Timeout::~Timeout() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    over_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

}  // namespace ringlet
