#pragma once

#include <cstddef>
#include <memory>

#include "collectives/communicator.h"
#include "engine/train/options.h"

namespace ringlet {

// What `ringlet train --trace FILE` does beside training; without it both
// functions do nothing. Collective: the ranks have the same options. Errors are
// SharedErrors.

// In place of `communicator`, its like that records the steps to be traced in a
// run that goes on after `steps_done`. An error where the file cannot be
// written, or where the communicator is none of ours.
std::unique_ptr<Communicator> with_trace(
    const TrainOptions& options, std::size_t steps_done,
    std::unique_ptr<Communicator> communicator);

// Writes the file at the end of the run, and a line about it.
void write_trace(const TrainOptions& options, Communicator& communicator);

}  // namespace ringlet
