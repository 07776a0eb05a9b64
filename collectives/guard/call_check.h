#pragma once

#include <memory>
#include <string>
#include <vector>

#include "collectives/communicator.h"
#include "collectives/host_memory.h"
#include "collectives/shared_board.h"
#include "collectives/transport.h"

namespace ringlet {

// Makes sure, before each call, that all ranks have come to the same one. The
// ranks of a host tell each other on a board (0.2 us at two ranks with a core
// each); the first rank of each host tells those of the others in a message of
// 80 bytes to each.
class CallCheck {
 public:
  // Collective. Of `memory`, which may hold this rank alone, and of `transport`
  // over all ranks, it uses what it needs; both outlive it. `hosts` are the
  // ranks by host.
  CallCheck(HostMemory& memory, Transport& transport,
            const std::vector<std::vector<int>>& hosts, int spins);

  // Returns when all ranks have come to this call. Throws MismatchError on all
  // of them where they have come to different ones, and Cancelled where a rank
  // has given up.
  void agree_on(const Collective& call);

  // As of a SharedBoard and of a Transport.
  void give_up() noexcept;
  void cancel() noexcept;
  void set_urgent(bool urgent) noexcept;
  int waiting_for() const;

 private:
  struct Summary;

  void agree_between_hosts(const Collective& call);
  Summary summary_of(const Collective& call) const;
  std::vector<Summary> exchange(const Summary& mine);

  HostMemory& memory_;
  Transport& transport_;
  SharedBoard board_;
  std::vector<int> leaders_;  // the first rank of each host, rising
  std::uint64_t calls_ = 0;
};

}  // namespace ringlet
