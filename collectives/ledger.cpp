#include "collectives/ledger.h"

namespace ringlet {

Traffic Ledger::total() const {
  Traffic sum;
  for (const Traffic& phase : phases_) {
    sum.messages_sent += phase.messages_sent;
    sum.bytes_sent += phase.bytes_sent;
    sum.messages_received += phase.messages_received;
    sum.bytes_received += phase.bytes_received;
  }
  return sum;
}

}  // namespace ringlet
