#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "collectives/algorithm_communicator.h"
#include "collectives/auto_communicator.h"
#include "collectives/communicator.h"
#include "collectives/guard/fault.h"
#include "collectives/guard/guard.h"
#include "collectives/host_communicator.h"
#include "collectives/ledger.h"
#include "collectives/mpi_communicator.h"
#include "collectives/mpi_scope.h"
#include "collectives/mpi_transport.h"
#include "collectives/schedules.h"
#include "collectives/solo_communicator.h"
#include "kernels/runtime/check.h"

namespace ringlet {
const std::vector<std::string>& communicator_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all{"solo", "auto", "mpi"};
    all.insert(all.end(), algorithm_names().begin(), algorithm_names().end());
    return all;
  }();
  return names;
}

namespace {

// Of the job's ranks, over MPI.
std::unique_ptr<HostCollectives> make_collectives(
    const std::string& name, const CommunicatorOptions& options,
    std::optional<FaultInjector>& fault) {
  const bool message = fault && parse_fault(options.fault).message;
  if (message && std::find(schedule_names().begin(), schedule_names().end(),
                           name) == schedule_names().end()) {
    throw Error(
        fmt::format("fault: '{}' has no messages of its own; expected {}", name,
                    fmt::join(schedule_names(), ", ")));
  }
  if (name == "mpi") return make_mpi_collectives();
  if (name == "auto") {
    if (options.algorithm_table.empty()) {
      return make_auto_collectives(nullptr, options);
    }
    const auto table = AlgorithmTable::read(options.algorithm_table);
    return make_auto_collectives(&table, options);
  }
  auto transport = make_mpi_transport();
  if (message) transport = fault->around(std::move(transport));
  CommunicatorOptions own = options;
  if (name == "shared" || name == "hierarchical")
    own.memory = mpi_host_memory(*transport);
  return make_algorithm_collectives(name, std::move(transport), own,
                                    std::make_shared<Ledger>());
}

std::unique_ptr<Communicator> make_solo() {
  const LaunchInfo launched = launch_info();
  if (launched.size > 1) {
    throw Error(fmt::format(
        "communicator 'solo' is for one rank, but {} started {}: use ring or "
        "mpi",
        launched.launcher, launched.size));
  }
  return make_solo_communicator();
}

}  // namespace

std::unique_ptr<Communicator> make_communicator(
    const std::string& name, const CommunicatorOptions& options) {
  const std::vector<std::string>& known = communicator_names();
  if (std::find(known.begin(), known.end(), name) == known.end()) {
    throw Error(fmt::format("unknown communicator '{}', expected {}", name,
                            fmt::join(known, ", ")));
  }
  if (name == "solo") return make_solo();
  const auto mpi = start_mpi();
  std::optional<FaultInjector> fault;
  if (!options.fault.empty()) fault.emplace(parse_fault(options.fault));
  auto collectives = make_collectives(name, options, fault);
  if (options.guard) {
    auto control = make_mpi_transport();
    auto watch = mpi_allows_threads() ? make_mpi_transport() : nullptr;
    collectives =
        make_guarded_collectives(std::move(collectives), std::move(control),
                                 std::move(watch), *options.guard);
  }
  if (fault) collectives = fault->around(std::move(collectives));
  return std::make_unique<HostCommunicator>(std::move(collectives));
}

}  // namespace ringlet
