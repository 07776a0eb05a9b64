#pragma once

#include <memory>
#include <string>
#include <vector>

#include "collectives/communicator.h"
#include "collectives/host_communicator.h"
#include "collectives/transport.h"

namespace ringlet {

// Our all-reduce algorithms: "ring", "naive", "tree", "recursive_doubling",
// "ordered".
const std::vector<std::string>& algorithm_names();

// Throws Error where it is not 8 bytes, the largest element, to 1 GiB; `source`
// is what the message begins with.
void check_slice_bytes(std::size_t bytes, const std::string& source);

// A communicator over any transport, without a guard, whose all-reduce is the
// algorithm of that name. reduce_scatter and all_gather go round the ring,
// reduce and broadcast along a binomial tree. Throws Error where the name or an
// option is none.
std::unique_ptr<Communicator> make_algorithm_communicator(
    const std::string& algorithm, std::unique_ptr<Transport> transport,
    const CommunicatorOptions& options = {});

// The same without a progress thread, counting into that ledger.
std::unique_ptr<HostCollectives> make_algorithm_collectives(
    const std::string& algorithm, std::unique_ptr<Transport> transport,
    const CommunicatorOptions& options, std::shared_ptr<Ledger> ledger);

}  // namespace ringlet
