// shape_check: how well shaped transports meet what is set. Two ranks throw a
// message to and fro; half of the median round trip is what one way takes, and
// what is met is that less what it takes without a shape. Alone, the ranks are
// threads; under mpirun -np 2 they are MPI's.
#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "bench/measure/statistics.h"
#include "collectives/launch.h"
#include "collectives/mpi_scope.h"
#include "collectives/mpi_transport.h"
#include "collectives/shaped_transport.h"
#include "collectives/thread_transport.h"
#include "kernels/runtime/error.h"

namespace ringlet {
namespace {

// Round trips of each measurement last this long together, but are so many at
// least.
constexpr double kSeconds = 1;
constexpr int kFewest = 15;

// Seconds of a message one way, as rank 0 sees them.
std::vector<double> ping_pong(Transport& transport, std::size_t bytes,
                              int rounds) {
  std::vector<std::byte> data(bytes);
  const int peer = 1 - transport.rank();
  const auto send = [&] {
    transport.wait(*transport.isend(peer, data.data(), bytes));
  };
  const auto receive = [&] {
    transport.wait(*transport.irecv(peer, data.data(), bytes));
  };
  std::vector<double> seconds;
  for (int round = 0; round < rounds; ++round) {
    const std::int64_t start = transport.now();
    if (transport.rank() == 0) {
      send();
      receive();
    } else {
      receive();
      send();
    }
    seconds.push_back(static_cast<double>(transport.now() - start) * 0.5e-9);
  }
  return seconds;
}

// The ranks of the job, or two threads.
using Ping = std::function<std::vector<double>(std::unique_ptr<Transport>)>;

std::vector<double> on_threads(const Ping& ping) {
  ThreadWorld world(2);
  std::thread other([&] { ping(world.transport(1)); });
  std::vector<double> seconds = ping(world.transport(0));
  other.join();
  return seconds;
}

class Check {
 public:
  explicit Check(bool over_mpi) : over_mpi_(over_mpi) {}

  // Expects `seconds` one way.
  void latency(const char* what, const NetworkShape& shape, double seconds) {
    constexpr std::size_t kBytes = 8;
    print(what, seconds * 1e6, added(shape, kBytes, seconds) * 1e6, "us");
  }

  // Expects `bandwidth` bytes/s, of a message that lasts 20 ms.
  void bandwidth(const char* what, const NetworkShape& shape,
                 double bandwidth) {
    constexpr double kLength = 0.02;
    const auto bytes = static_cast<std::size_t>(bandwidth * kLength);
    const double met =
        static_cast<double>(bytes) / added(shape, bytes, kLength);
    print(what, bandwidth * 1e-6, met * 1e-6, "MB/s");
  }

 private:
  double added(const NetworkShape& shape, std::size_t bytes, double expected) {
    const int rounds =
        std::max(kFewest, static_cast<int>(kSeconds / (2 * expected)));
    plain_ = one_way({}, bytes, rounds);
    return one_way(shape, bytes, rounds) - plain_;
  }

  double one_way(const NetworkShape& shape, std::size_t bytes,
                 int rounds) const {
    const Ping ping = [&](std::unique_ptr<Transport> inner) {
      const auto transport = make_shaped_transport(std::move(inner), shape);
      return ping_pong(*transport, bytes, rounds);
    };
    return median(over_mpi_ ? ping(make_mpi_transport()) : on_threads(ping));
  }

  void print(const char* what, double set, double met, const char* unit) const {
    if (launch_info().rank != 0) return;
    fmt::print("{:<22} {:7.1f} us  set {:8.1f} met {:8.1f} {:<4} {:+6.2f} %\n",
               what, plain_ * 1e6, set, met, unit, (met / set - 1) * 100);
  }

  bool over_mpi_;
  double plain_ = 0;  // seconds of the last message without a shape
};

void run() {
  const LaunchInfo launched = launch_info();
  const bool over_mpi = launched.size > 1;
  if (launched.size > 2) {
    throw Error(
        fmt::format("shape_check on {} ranks, expected 1 or 2", launched.size));
  }
  const auto mpi = over_mpi ? start_mpi() : nullptr;
  if (launched.rank == 0) {
    fmt::print("{}, medians      unshaped\n",
               over_mpi ? "2 ranks over MPI" : "2 threads");
  }
  Check check(over_mpi);
  for (const double latency : {100e-6, 200e-6, 500e-6, 1e-3, 5e-3, 20e-3}) {
    check.latency("latency", {.latency = latency}, latency);
  }
  // On the average half of the jitter is added.
  check.latency("latency and jitter",
                {.latency = 1e-3, .jitter = 1e-3, .seed = 1}, 1.5e-3);
  for (const double bandwidth : {1e6, 1e7, 1e8}) {
    check.bandwidth("bandwidth", {.bandwidth = bandwidth}, bandwidth);
  }
  NetworkShape::Link link{.a = 0, .b = 1, .latency = 2e-3, .bandwidth = 1e9};
  check.latency("slow link's latency",
                {.latency = 1e-4, .bandwidth = 1e9, .slow_link = link}, 2e-3);
  link = {.a = 0, .b = 1, .latency = 0, .bandwidth = 5e6};
  check.bandwidth("slow link's bandwidth",
                  {.latency = 1e-4, .bandwidth = 1e9, .slow_link = link}, 5e6);
}

}  // namespace
}  // namespace ringlet

int main() {
  try {
    ringlet::run();
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    ringlet::abort_job(1);
  }
  return EXIT_SUCCESS;
}
