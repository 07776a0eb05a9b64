#pragma once

#include <memory>

#include "collectives/communicator.h"
#include "engine/train/options.h"

// How the ranks of `ringlet train` come together, and share their hosts.
namespace ringlet {

// As --comm says, and --virtual-ranks. Throws a SharedError where it cannot be.
std::unique_ptr<Communicator> open_communicator(const TrainOptions& options);

// Whether gradients there travel as messages, in --wire-dtype, by that back
// end: not where the ranks share memory.
bool sends_messages(const std::string& comm, Device device);

// The cores of this host shared among its ranks, unless somebody decided; not
// more than this process may use.
int threads_per_rank(const TrainOptions& options);

}  // namespace ringlet
