#pragma once

#include "collectives/communicator.h"
#include "engine/train/options.h"

namespace ringlet {

// Reads the arguments of `ringlet train` (its name first). Returns false after
// --help, which rank 0 prints; throws a SharedError that names the option, its
// value and what was expected.
bool parse_train_options(int argc, char** argv, TrainOptions& options);

CommunicatorOptions communicator_options(const TrainOptions& options);

}  // namespace ringlet
