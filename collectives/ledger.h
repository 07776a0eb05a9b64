#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "collectives/schedule.h"

namespace ringlet {

// Messages between ranks, and the bytes in them.
struct Traffic {
  std::uint64_t messages_sent = 0;
  std::uint64_t bytes_sent = 0;
  std::uint64_t messages_received = 0;
  std::uint64_t bytes_received = 0;

  bool operator==(const Traffic&) const = default;
};

// What one rank has sent and received, by phase. Always kept: counting a
// message costs two additions. A message counts when it is started, a barrier's
// empty ones too; the ping-pongs that measure the clock do not.
class Ledger {
 public:
  const Traffic& of(Phase phase) const { return phases_[index(phase)]; }
  Traffic total() const;
  void clear() { phases_ = {}; }

  void count_sent(Phase phase, std::size_t bytes) {
    Traffic& traffic = phases_[index(phase)];
    ++traffic.messages_sent;
    traffic.bytes_sent += bytes;
  }
  void count_received(Phase phase, std::size_t bytes) {
    Traffic& traffic = phases_[index(phase)];
    ++traffic.messages_received;
    traffic.bytes_received += bytes;
  }

 private:
  static std::size_t index(Phase phase) {
    return static_cast<std::size_t>(phase);
  }

  std::array<Traffic, kPhases> phases_{};
};

}  // namespace ringlet
