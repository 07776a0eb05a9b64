#pragma once

#include <cstddef>
#include <memory>

#include "collectives/transport.h"

namespace ringlet::testing {

// What a StrictTransport has seen of one rank.
struct TransportLog {
  std::size_t bytes_sent = 0;
  std::size_t most_sends_in_flight = 0;
  std::size_t most_receives_in_flight = 0;
};

// Wraps a transport and holds its user to MPI's rules, which other transports
// may forgive: memory of a send in flight is neither received into nor changed,
// memory of a receive in flight is not touched by another message, and no
// request is dropped before it is done. It throws Error when it notices, at the
// latest at the next message or wait. It also holds messages up, now and then,
// by times that differ from rank to rank and from seed to seed, so that ranks
// run apart.
std::unique_ptr<Transport> make_strict_transport(
    std::unique_ptr<Transport> inner, TransportLog& log, unsigned seed = 0);

}  // namespace ringlet::testing
