#pragma once

#include "engine/train/trainer.h"

namespace ringlet {

// Signals become requests to the training from now on:
//   SIGUSR1           save a checkpoint and go on
//   SIGUSR2           save one and end, with status 0
//   SIGINT, SIGTERM   the same as SIGUSR2 where no mpirun started this program;
//                     a second one ends it at once
// mpirun passes SIGUSR1 and SIGUSR2 on to its ranks; after SIGINT and SIGTERM
// it leaves them less than a second, in which one of them says which rank has
// died, if one has.
TrainRequests& requests_by_signal();

}  // namespace ringlet
