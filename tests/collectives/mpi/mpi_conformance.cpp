// Runs under mpirun: the back ends over MPI conform, and MPI's ranks are what
// the launcher said.
#include <fmt/format.h>

#include <cstdint>
#include <cstdlib>
#include <vector>

#include "collectives/algorithm_communicator.h"
#include "collectives/auto_communicator.h"
#include "collectives/conformance.h"
#include "collectives/ledger.h"
#include "collectives/mpi_communicator.h"
#include "collectives/mpi_scope.h"
#include "collectives/mpi_transport.h"
#include "collectives/recorder.h"
#include "collectives/shaped_transport.h"
#include "collectives/strict_transport.h"
#include "kernels/runtime/check.h"

namespace ringlet {
namespace {

using testing::Arrays;
using testing::check_conformance;

void check_algorithms() {
  const LaunchInfo self = launch_info();
  for (const std::string& name : algorithm_names()) {
    if (name == "shared" && self.local_size < self.size) continue;
    for (const std::size_t slice_bytes : {16, 1024}) {
      const auto communicator =
          make_communicator(name, {.slice_bytes = slice_bytes});
      RINGLET_CHECK(communicator->name() == name, "named {}",
                    communicator->name());
      check_conformance(*communicator, slice_bytes);
      check_conformance(*communicator, slice_bytes, Arrays::kAllocated);
    }
  }
}

// Pieces far below what MPI's int could count.
void check_pieces() {
  testing::TransportLog log;
  check_conformance(
      *make_algorithm_communicator(
          "ring", testing::make_strict_transport(make_mpi_transport(100), log),
          {.slice_bytes = 1024}),
      1024);
  HostCommunicator mpi(make_mpi_collectives(100));
  check_conformance(mpi, 64);
}

// One algorithm after the other, as the size changes.
void check_auto() {
  const AlgorithmTable table({{1, 0, "mpi"},
                              {1, 64, "ring", 64},
                              {1, 512, "recursive_doubling", 128},
                              {1, 2048, "ordered", 256},
                              {1, 4096, "mpi"}},
                             "test");
  HostCommunicator communicator(
      make_auto_collectives(&table, {.share_memory = false}));
  for (const Arrays arrays : {Arrays::kPrivate, Arrays::kAllocated}) {
    check_conformance(communicator, 256, arrays);
    check_conformance(*make_communicator("auto"), 64, arrays);
    check_conformance(*make_communicator("auto", {.share_memory = false}), 64,
                      arrays);
  }
  if (communicator.size() == 1) return;

  const auto ranks = static_cast<std::size_t>(communicator.size());
  const auto sent = [&](std::size_t bytes) {
    std::vector<std::uint8_t> data(bytes, 1);
    communicator.clear_ledger();
    communicator.all_reduce(data.data(), bytes, Dtype::kU8, ReduceOp::kSum);
    return *communicator.ledger();
  };
  RINGLET_CHECK(sent(63).total() == Traffic{}, "63 bytes were not MPI's");
  for (const std::size_t bytes : {64, 511}) {
    const std::size_t chunk = (bytes + ranks - 1) / ranks;
    const std::size_t slices = (chunk + 63) / 64;
    const Ledger ledger = sent(bytes);
    RINGLET_CHECK(
        ledger.of(Phase::kReduceScatter).messages_sent == (ranks - 1) * slices,
        "{} bytes did not take the ring in slices of 64", bytes);
  }
  for (const std::size_t bytes : {512, 2047}) {
    const Ledger ledger = sent(bytes);
    RINGLET_CHECK(ledger.total().messages_sent > 0 &&
                      ledger.of(Phase::kReduceScatter) == Traffic{},
                  "{} bytes did not take recursive doubling", bytes);
  }
  RINGLET_CHECK(sent(2048).of(Phase::kReduceScatter).messages_sent > 0,
                "2048 bytes did not take ordered");
  RINGLET_CHECK(sent(4096).total() == Traffic{}, "4096 bytes were not MPI's");
}

// What runs beside the caller is ours, where the table says MPI.
void check_overlapped() {
  CommunicatorOptions options;
  options.recorder = std::make_shared<Recorder>();
  options.share_memory = false;
  const AlgorithmTable table({{1, 0, "mpi"}}, "test");
  HostCommunicator communicator(make_auto_collectives(&table, options));
  float value = 1;
  communicator.all_reduce(&value, 1, Dtype::kF32, ReduceOp::kSum);
  RINGLET_CHECK(options.recorder->events().empty(), "MPI's was not taken");
  communicator.all_reduce_async(&value, 1, Dtype::kF32, ReduceOp::kSum).wait();
  RINGLET_CHECK(!options.recorder->events().empty(), "the ring was not taken");
  const auto ranks = static_cast<float>(communicator.size());
  RINGLET_CHECK(value == ranks * ranks, "a sum of {}", value);
}

void check_different_tables() {
  const LaunchInfo self = launch_info();
  if (self.size == 1) return;
  const std::size_t from = self.rank + 1 == self.size ? 65 : 64;
  const AlgorithmTable table({{1, 0, "mpi"}, {1, from, "ring"}}, "test");
  bool refused = false;
  try {
    make_auto_collectives(&table);
  } catch (const Error&) {
    refused = true;
  }
  RINGLET_CHECK(refused, "different tables were taken");
}

// Messages that are held back.
void check_shaped() {
  check_conformance(
      *make_algorithm_communicator(
          "ring",
          make_shaped_transport(
              make_mpi_transport(),
              {.latency = 1e-6, .bandwidth = 1e9, .jitter = 10e-6}),
          {.slice_bytes = 1024}),
      1024);
}

// Slices that MPI sends by rendezvous, several in flight.
void check_large() {
  constexpr std::size_t kCount = (3 << 20) + 1;
  const auto ring = make_communicator("ring");
  std::vector<std::int32_t> data(kCount, ring->rank() + 1);
  ring->all_reduce_async(data.data(), kCount, Dtype::kI32, ReduceOp::kSum)
      .wait();
  const std::int32_t expected = ring->size() * (ring->size() + 1) / 2;
  RINGLET_CHECK(data == std::vector<std::int32_t>(kCount, expected),
                "a large sum is wrong");
}

// Clocks of one host are equal, but for the error that is told.
void check_ledger_and_clock() {
  const auto ring = make_communicator("ring"), mpi = make_communicator("mpi");
  const auto ranks = static_cast<std::uint64_t>(ring->size());
  std::vector<float> data(100 * ranks);
  ring->all_reduce(data.data(), data.size(), Dtype::kF32, ReduceOp::kSum);
  RINGLET_CHECK(ring->ledger()->total().bytes_sent ==
                    2 * (ranks - 1) * 100 * sizeof(float),
                "the ring's ledger has {} bytes",
                ring->ledger()->total().bytes_sent);
  RINGLET_CHECK(mpi->ledger() == nullptr, "MPI's bytes are not ours to count");
  const auto reading = ring->measure_clock();
  RINGLET_CHECK(reading && std::abs(reading->ahead) <= reading->error,
                "clocks of one host differ by {} ns, with an error of {}",
                reading->ahead, reading->error);
}

void check_launch_info(const LaunchInfo& before) {
  const LaunchInfo now = launch_info();
  const auto ring = make_communicator("ring");
  RINGLET_CHECK(now == before, "launch_info changed when MPI started");
  RINGLET_CHECK(now.rank == ring->rank() && now.size == ring->size(),
                "launch_info is not the communicator's");
}

// A message of another length than expected is an error, not a surprise.
void check_lengths() {
  const auto transport = make_mpi_transport();
  if (transport->size() < 2) return;
  std::int64_t value = 0;
  if (transport->rank() == 0) {
    transport->wait(*transport->isend(1, &value, 4));
    transport->wait(*transport->isend(1, &value, 8));
  }
  if (transport->rank() != 1) return;
  for (const std::size_t wanted : {8, 4}) {
    const auto receive = transport->irecv(0, &value, wanted);
    bool refused = false;
    try {
      transport->wait(*receive);
    } catch (const Error&) {
      refused = true;
    }
    RINGLET_CHECK(refused, "a message of the wrong length was taken");
  }
}

void check_solo() {
  bool refused = false;
  try {
    make_communicator("solo");
  } catch (const Error&) {
    refused = true;
  }
  RINGLET_CHECK(refused == (launch_info().size > 1),
                "solo is for a job of one rank, and for no other");
}

void run() {
  const LaunchInfo launched = launch_info();
  const auto mpi = start_mpi();
  check_launch_info(launched);
  check_algorithms();
  check_conformance(*make_communicator("mpi"), 64);
  check_pieces();
  check_auto();
  check_overlapped();
  check_different_tables();
  check_shaped();
  check_large();
  check_ledger_and_clock();
  check_lengths();
  check_solo();
}

}  // namespace
}  // namespace ringlet

int main() {
  try {
    ringlet::run();
  } catch (const std::exception& error) {
    fmt::print(stderr, "rank {}: {}\n", ringlet::launch_info().rank,
               error.what());
    ringlet::abort_job(1);
  }
  return EXIT_SUCCESS;
}
