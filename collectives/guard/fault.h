#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "collectives/communicator.h"
#include "collectives/host_communicator.h"
#include "collectives/transport.h"

namespace ringlet {

enum class FaultKind {
  kDelay,     // sleeps before the call, or before the message
  kLost,      // never comes to the call; the message never leaves
  kFlip,      // one bit of the rank's result, or of the message, is wrong
  kCount,     // calls with one element less,
  kDtype,     // with another type of the same size,
  kOperator,  // with another way to combine,
  kTag,       // for another bucket,
  kSwap,      // after the call that should follow,
  kSkip,      // not at all,
  kExtra,     // twice
  kKill,      // ends by SIGKILL,
  kSegfault,  // by SIGSEGV,
  kExit,      // by _exit(0)
  kStop,      // is stopped by SIGSTOP
  kThrow      // throws an Error
};

// Something to go wrong on purpose, once, on one rank, at one of its calls.
struct Fault {
  int rank = 0;
  // Which of its calls of that kind, from 1; of its calls of any kind.
  std::optional<CollectiveKind> op;
  std::uint64_t number = 1;
  FaultKind kind = FaultKind::kDelay;
  double seconds = 0;  // of a delay
  // For kDelay, kLost and kFlip: not the call but its message of this number,
  // from 0, among those that the rank sends in it.
  std::optional<std::uint64_t> message;
};

// "rank=2,op=all_reduce#37,kind=stop"; "call" for an op of any kind, and
// "kind=delay:SECONDS", "message=4". Throws Error that says what was expected.
Fault parse_fault(const std::string& text);
std::string fault_help();

struct FaultState;

// The fault of one communicator: goes around what it is made of.
class FaultInjector {
 public:
  explicit FaultInjector(const Fault& fault);

  std::unique_ptr<HostCollectives> around(std::unique_ptr<HostCollectives>);
  // For a fault that has a message.
  std::unique_ptr<Transport> around(std::unique_ptr<Transport>);

 private:
  std::shared_ptr<FaultState> state_;
};

}  // namespace ringlet
