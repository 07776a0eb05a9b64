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
  ::setsid();
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

StartedChild start_child(const std::function<void()>& body) {
  const auto begin = Clock::now();
  std::array<int, 2> output{};
  RINGLET_CHECK(::pipe2(output.data(), O_CLOEXEC) == 0, "pipe: {}",
                std::strerror(errno));
  std::fflush(nullptr);           // or both would write what is pending
  std::signal(SIGCHLD, SIG_DFL);  // or its status would be lost
  const pid_t process = ::fork();
  RINGLET_CHECK(process >= 0, "fork: {}", std::strerror(errno));
  if (process == 0) be_child(output[1], body);
  ::close(output[1]);
  return {process, output[0], begin};
}

Child finish_child(const StartedChild& started, Clock::time_point deadline) {
  Child child;
  int status = 0;
  child.timed_out = !read_until(started.output, deadline, &child.output) ||
                    !reap_until(started.process, deadline, &status);
  if (child.timed_out) {
    ::kill(-started.process, SIGTERM);
    const bool gone =
        reap_until(started.process, Clock::now() + kTimeToTidy, &status);
    ::kill(-started.process, SIGKILL);  // what it has left, too
    if (!gone) {
      reap_until(started.process, Clock::now() + kTimeToDie, &status);
    }
  }
  ::close(started.output);
  child.status = shell_status(status);
  child.seconds =
      std::chrono::duration<double>(Clock::now() - started.begin).count();
  return child;
}

Child run_child(double seconds, const std::function<void()>& body) {
  const StartedChild started = start_child(body);
  return finish_child(
      started, started.begin + std::chrono::ceil<milliseconds>(
                                   std::chrono::duration<double>(seconds)));
}

int shell_status(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status)
                           : kSignalBase + WTERMSIG(status);
}

}  // namespace ringlet
