#pragma once

#include <exception>
#include <functional>
#include <string>
#include <vector>

#include "collectives/communicator.h"
#include "kernels/runtime/error.h"

namespace ringlet {

// An error that every rank throws with the same text, so that one of them can
// say it for all and the job ends in order.
class SharedError : public Error {
 public:
  using Error::Error;
};

// Runs `action` on this rank and waits for the others. Where it throws on any
// rank, every rank throws a SharedError with the message of the lowest one
// that failed. The action must not communicate.
void agree(Communicator& communicator, const std::function<void()>& action);

// Prints the error once for the whole job, then ends all ranks with status 1,
// or that of a mismatch (watchdog.h).
// An error that every rank has is rank 0's to print, and the others wait until
// it has; one that a rank has alone is its own, but should several fail
// together the lowest comes first, and ends the others while they wait. That a
// rank waited in vain for another (Cancelled) is said last.
[[noreturn]] void end_job(const char* program, const std::exception& error);

// Every rank's text, by rank.
std::vector<std::string> gather_text(Communicator& communicator,
                                     const std::string& mine);

// Checks that `mine`, lines of text, is the same on all ranks; else throws a
// SharedError that names `what`, the rank and both sides' first line that
// differs.
void require_equal(Communicator& communicator, const std::string& what,
                   const std::string& mine);

}  // namespace ringlet
