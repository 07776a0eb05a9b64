#pragma once

#include <cstddef>

#include "collectives/communicator.h"

namespace ringlet {

// The arrays of a call as all ranks know them without sending any: a rank's
// element i is a function of (rank, i).
//
// Exact: small whole numbers, whose sums and products are exact in every dtype,
// so that a wrong element shows. Real: 0 to 1, whose sums are rounded, so that
// the error shows. (Of both signs, sums near 0 would have few digits left.)
enum class Values { kExact, kReal };

// What rank `rank` of `ranks` puts in; of reduce_scatter the whole input.
void fill(void* data, std::size_t count, Dtype dtype, ReduceOp op, Values kind,
          int rank, int ranks);

// Which part of which result an array holds.
struct Result {
  const Collective& call;
  const void* data;
  int rank, ranks;
};

// Elements that are not what exact values give, and the largest error of real
// ones against double precision, in units in the last place. The latter looks
// at no more than 65536 elements, evenly spread.
std::size_t count_wrong(const Result& result);
double worst_ulp(const Result& result);

}  // namespace ringlet
