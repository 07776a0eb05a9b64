#pragma once

#include <vector>

#include "collectives/communicator.h"

// What data-parallel training must keep, as checks that each rank runs: on
// threads as ranks and under mpirun alike.
namespace ringlet::testing {

// The gradient of a small network without batch norm, over a global batch that
// the ranks share, in the order of the parameters.
//
// With `integers` everything is exact in single precision: pictures and
// weights are small integers, logits lie so far apart that each softmax is 0
// or 1, and the batch must be a power of two. Any split of the samples then
// has to give the same bits, and a wrong scale or a lost sample others.
std::vector<float> shared_gradient(Communicator& communicator,
                                   std::size_t global_batch, bool integers);

// The same gradient, not for integers, in double precision.
std::vector<double> reference_gradient(std::size_t global_batch);

// |a - b| / |b|
double distance(const std::vector<float>& a, const std::vector<double>& b);

// Trains a network with batch norm for some steps, one with a short batch that
// leaves ranks without samples, and throws where parameters or momentum differ
// in a bit from rank 0's after any step, or buffers after broadcast_buffers().
void check_replicas_stay_identical(Communicator& communicator);

}  // namespace ringlet::testing
