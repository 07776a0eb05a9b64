#pragma once

#include <cstddef>

#include "collectives/transport.h"

namespace ringlet {

// Copies `bytes` of the root's data to every rank along a binomial tree: the
// last rank has it after ceil(log2 N) messages, and no rank sends more often.
void tree_broadcast(Transport& transport, void* data, std::size_t bytes,
                    int root);

}  // namespace ringlet
