#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "collectives/guard/call_log.h"
#include "collectives/transport.h"
#include "kernels/runtime/buffer.h"

namespace ringlet {

// How the watchdogs of one host know of the ranks of the others: the first rank
// of each host tells the first ranks of all others, about once a second, how
// far its host's ranks are and what calls they made last: 900 bytes per rank.
// What it hears it leaves in memory that its host shares.
//
// Nobody waits for an answer: a host that is stopped is one of which nothing is
// heard.
class HostExchange {
 public:
  static constexpr std::size_t kCalls = 8;
  static constexpr std::size_t kBytes =
      CallLog::kHeaderBytes + kCalls * CallLog::kCallBytes;

  // For the first rank of a host. `hosts` are the job's ranks by host.
  // `transport`, over all ranks, is for this alone and outlives it; `copies`
  // has kBytes for each rank of the job.
  HostExchange(Transport& transport, const std::vector<std::vector<int>>& hosts,
               std::byte* copies);
  ~HostExchange();
  HostExchange(const HostExchange&) = delete;
  HostExchange& operator=(const HostExchange&) = delete;

  // Takes what has come, and tells the others of `own`, the ranks of this host,
  // when `period` nanoseconds have passed since the last time.
  void turn(const std::vector<CallLog>& own, std::int64_t period);

  // The last word, after a job's good end, which `own`'s first rank has said
  // for itself: returns when all others have had theirs, or after two seconds.
  void close(const std::vector<CallLog>& own);

 private:
  struct Peer;

  void hear(Peer& peer);
  void tell(Peer& peer, const std::vector<CallLog>& own);

  Transport& transport_;
  std::byte* copies_;
  std::vector<Peer> peers_;
  std::int64_t told_ = 0;  // when
};

}  // namespace ringlet
