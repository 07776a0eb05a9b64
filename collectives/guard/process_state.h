#pragma once

#include <cstdint>

namespace ringlet {

enum class ProcessState { kRuns, kStopped, kGone };

// When a process of this host began, in the kernel's ticks since the host did:
// with its number, the name of a process that nobody else will have. 0 where
// there is none.
std::uint64_t start_of_process(std::int64_t process);

// How the process that began then is doing: stopped by a signal or a debugger,
// gone (or dead and not yet buried), or neither. Reads /proc.
ProcessState state_of_process(std::int64_t process, std::uint64_t start);

}  // namespace ringlet
