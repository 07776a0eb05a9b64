#include "apps/child.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "kernels/runtime/check.h"

namespace ringlet {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr int kSignalBase = 128;
// A process that waits for a dead file server ends when that answers.
constexpr milliseconds kTimeToDie{1000};
// mpirun ends its ranks, which are in groups of their own, and its daemons.
constexpr milliseconds kTimeToTidy{1000};

[[noreturn]] void be_child(int output, const std::function<void()>& body) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // should the parent be killed
  ::dup2(::open("/dev/null", O_RDONLY | O_CLOEXEC), STDIN_FILENO);
  ::dup2(output, STDOUT_FILENO);
  ::dup2(output, STDERR_FILENO);
  int status = 0;
  try {
    body();
  } catch (const std::exception& error) {
    fmt::print("{}", error.what());
    status = 1;
  }
  std::fflush(nullptr);
  std::_Exit(status);
}

// Whether all was read before the deadline.
bool read_until(int from, Clock::time_point deadline, std::string* text) {
  std::array<char, 4096> buffer{};
  for (;;) {
    const auto left =
        std::chrono::ceil<milliseconds>(deadline - Clock::now()).count();
    pollfd ready{from, POLLIN, 0};
    if (left <= 0 || ::poll(&ready, 1, static_cast<int>(left)) == 0) {
      return false;
    }
    const ssize_t length = ::read(from, buffer.data(), buffer.size());
    if (length < 0 && errno == EINTR) continue;
    if (length <= 0) return true;
    text->append(buffer.data(), static_cast<std::size_t>(length));
  }
}

bool reap_until(pid_t child, Clock::time_point deadline, int* status) {
  while (::waitpid(child, status, WNOHANG) != child) {
    if (Clock::now() >= deadline) return false;
    std::this_thread::sleep_for(milliseconds(2));
  }
  return true;
}

}  // namespace

Child run_child(double seconds, const std::function<void()>& body) {
  const auto begin = Clock::now();
  const auto deadline = begin + std::chrono::ceil<milliseconds>(
                                    std::chrono::duration<double>(seconds));
  std::array<int, 2> output{};
  RINGLET_CHECK(::pipe2(output.data(), O_CLOEXEC) == 0, "pipe: {}",
                std::strerror(errno));
  std::fflush(nullptr);           // or both would write what is pending
  std::signal(SIGCHLD, SIG_DFL);  // or its status would be lost
  const pid_t process = ::fork();
  RINGLET_CHECK(process >= 0, "fork: {}", std::strerror(errno));
  if (process == 0) be_child(output[1], body);
  ::setpgid(process, process);  // whoever of the two comes first
  ::close(output[1]);
  Child child;
  int status = 0;
  child.timed_out = !read_until(output[0], deadline, &child.output) ||
                    !reap_until(process, deadline, &status);
  if (child.timed_out) {
    ::kill(-process, SIGTERM);
    const bool gone = reap_until(process, Clock::now() + kTimeToTidy, &status);
    ::kill(-process, SIGKILL);  // what it has left, too
    if (!gone) reap_until(process, Clock::now() + kTimeToDie, &status);
  }
  ::close(output[0]);
  child.status =
      WIFEXITED(status) ? WEXITSTATUS(status) : kSignalBase + WTERMSIG(status);
  child.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  return child;
}

}  // namespace ringlet
