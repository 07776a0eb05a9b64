#include <fmt/ranges.h>

#include <algorithm>

#include "collectives/algorithm_communicator.h"
#include "collectives/auto_communicator.h"
#include "collectives/communicator.h"
#include "collectives/mpi_communicator.h"
#include "collectives/mpi_scope.h"
#include "collectives/mpi_transport.h"
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

std::unique_ptr<Communicator> make_communicator(
    const std::string& name, const CommunicatorOptions& options) {
  const std::vector<std::string>& known = communicator_names();
  if (std::find(known.begin(), known.end(), name) == known.end()) {
    throw Error(fmt::format("unknown communicator '{}', expected {}", name,
                            fmt::join(known, ", ")));
  }
  if (name == "mpi") return make_mpi_communicator();
  if (name == "auto") {
    if (options.algorithm_table.empty()) {
      return make_auto_communicator(nullptr, options);
    }
    const auto table = AlgorithmTable::read(options.algorithm_table);
    return make_auto_communicator(&table, options);
  }
  if (name != "solo") {
    auto transport = make_mpi_transport();
    CommunicatorOptions own = options;
    if (name == "shared") own.memory = mpi_host_memory(*transport);
    return make_algorithm_communicator(name, std::move(transport), own);
  }
  const LaunchInfo launched = launch_info();
  if (launched.size > 1) {
    throw Error(fmt::format(
        "communicator 'solo' is for one rank, but {} started {}: use ring or "
        "mpi",
        launched.launcher, launched.size));
  }
  return make_solo_communicator();
}

}  // namespace ringlet
