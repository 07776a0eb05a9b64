#pragma once

#include <sys/types.h>

#include <chrono>
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

struct StartedChild {
  pid_t process;
  int output;  // where it is read
  std::chrono::steady_clock::time_point begin;
};

// Runs `body` in a child process with a session of its own, so that it has no
// terminal, and nothing to read. An exception's text is output, and the status
// then 1. Not for a process that has threads.
StartedChild start_child(const std::function<void()>& body);
// Waits for its end; at the deadline asks all of its group to end (SIGTERM),
// kills what is there a second later, and does not wait for what cannot be
// ended.
Child finish_child(const StartedChild& started,
                   std::chrono::steady_clock::time_point deadline);
// Both.
Child run_child(double seconds, const std::function<void()>& body);

// What waitpid() says, as a shell has it.
int shell_status(int status);

}  // namespace ringlet
