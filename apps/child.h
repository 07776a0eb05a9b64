#pragma once

#include <functional>
#include <string>

namespace ringlet {

// What became of a child process.
struct Child {
  int status = 0;          // as a shell has it: 128 + the signal
  bool timed_out = false;  // ended by us
  double seconds = 0;
  std::string output;  // stdout and stderr, in the order in which they came

  bool succeeded() const { return status == 0 && !timed_out; }
};

// Runs `body` in a child process with a process group of its own and nothing to
// read; after `seconds` asks all of the group to end (SIGTERM), kills what is
// there a second later, and does not wait for what cannot be ended. An
// exception's text is output, and the status then 1. Not for a process that has
// threads.
Child run_child(double seconds, const std::function<void()>& body);

}  // namespace ringlet
