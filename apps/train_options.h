#pragma once

#include "engine/train/options.h"

namespace ringlet {

// Reads the arguments of `ringlet train` (its name first). Returns false, with
// the exit status in `status`, where there is nothing to train: after --help,
// and after a mistake. What must be said then is said by rank 0 alone.
bool parse_train_options(int argc, char** argv, TrainOptions& options,
                         int& status);

}  // namespace ringlet
