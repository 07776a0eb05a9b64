#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "apps/commands.h"
#include "apps/mpirun.h"
#include "kernels/runtime/check.h"

// A thin front of mpirun. mpirun runs in a process group of its own, so that
// Ctrl-C on the terminal reaches this program alone, which asks the ranks to
// save and end (SIGUSR2, which mpirun passes on) where mpirun would kill them.
// What the ranks say of an error comes last, after all that mpirun adds to it.

namespace ringlet {
namespace {

constexpr const char* kUsage =
    "Usage: ringlet launch -np N [options of mpirun] -- COMMAND [options]\n"
    "\n"
    "Starts `ringlet COMMAND` on N ranks by mpirun, with settings that work "
    "on\n"
    "any machine: as root, with more ranks than cores, and without tying all\n"
    "threads of a rank to one core (scripts/env says more).\n"
    "\n"
    "Ctrl-C, SIGTERM and SIGHUP ask all ranks to end after their step with a\n"
    "checkpoint, and the status is then 0; a second one ends them at once.\n"
    "SIGUSR1 and SIGUSR2 are passed on to them.\n"
    "\n"
    "Examples:\n"
    "  ringlet launch -np 2 -- train --model resnet20 --epochs 3\n"
    "  ringlet launch -np 8 --hostfile hosts -- train --data /data/cifar10\n";

constexpr int kSignalBase = 128;  // as shells say it
constexpr int kSecondsToEnd = 3;  // after the second signal
constexpr int kColumnsUnknown = 80;
constexpr std::string_view kOurs = "ringlet: ";
constexpr std::string_view kForwarding = "mpirun: Forwarding signal";

volatile std::sig_atomic_t signals = 0;
pid_t mpirun = 0;

// The first asks, the second ends, and after the alarm there is no mercy.
void pass_on(int signal) {
  if (signal == SIGALRM) {
    ::kill(-mpirun, SIGKILL);
    return;
  }
  if (signal == SIGUSR1 || signal == SIGUSR2) {
    ::kill(mpirun, signal);
    return;
  }
  signals = signals + 1;
  if (signals == 1) {
    constexpr std::string_view kText =
        "\nringlet: saving after this step; once more ends it at once\n";
    [[maybe_unused]] const auto written =
        ::write(STDERR_FILENO, kText.data(), kText.size());
    ::kill(mpirun, SIGUSR2);
  } else {
    ::kill(mpirun, SIGTERM);
    if (signals == 2) ::alarm(kSecondsToEnd);
  }
}

// What the starter has set to be ignored (nohup) stays so.
void handle(int signal) {
  struct sigaction action {
  }, before{};
  ::sigaction(signal, nullptr, &before);
  if (before.sa_handler == SIG_IGN) return;
  action.sa_handler = &pass_on;
  action.sa_flags = SA_RESTART;
  RINGLET_CHECK(::sigaction(signal, &action, nullptr) == 0, "sigaction: {}",
                std::strerror(errno));
}

void set_environment() {
  set_mpirun_environment();
  // A rank cannot see whether mpirun writes to a terminal: Open MPI hands it
  // one of its own, whatever its own output is. So the width is passed on.
  if (!isatty(STDOUT_FILENO)) return;
  winsize size{};
  const bool known =
      ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  const int columns = known ? size.ws_col : kColumnsUnknown;
  setenv("RINGLET_TERMINAL", std::to_string(columns).c_str(), 0);
}

// mpirun OPTIONS ringlet COMMAND..., of: launch OPTIONS -- COMMAND...
std::vector<std::string> command_line(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  const auto dashes = std::find(words.begin(), words.end(), "--");
  if (words.end() - dashes < 2) {
    throw Error(
        "launch: expected '-- COMMAND' after the options of mpirun, as in "
        "ringlet launch -np 2 -- train; see ringlet launch --help");
  }
  return mpirun_words({words.begin(), dashes}, {dashes + 1, words.end()});
}

[[noreturn]] void become_mpirun(const std::vector<std::string>& words,
                                int errors) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);  // should this program be killed
  ::dup2(errors, STDERR_FILENO);
  // Reading from the terminal would stop a process that is in the background.
  const int nothing = ::open("/dev/null", O_RDONLY);
  ::dup2(nothing, STDIN_FILENO);
  become(words);
}

// Passes on what comes, line by line, but keeps our own lines for the end, and
// what mpirun says of the signal that was sent to it for itself.
std::string forward_errors(int from) {
  std::string ours, line;
  std::array<char, 4096> buffer{};
  const auto end_line = [&] {
    if (line.starts_with(kOurs)) {
      ours += line;
    } else if (!line.starts_with(kForwarding)) {
      std::fwrite(line.data(), 1, line.size(), stderr);
    }
    line.clear();
  };
  for (;;) {
    const ssize_t length = ::read(from, buffer.data(), buffer.size());
    if (length < 0 && errno == EINTR) continue;
    if (length <= 0) break;
    for (ssize_t i = 0; i < length; ++i) {
      line += buffer[static_cast<std::size_t>(i)];
      if (line.back() == '\n') end_line();
    }
  }
  end_line();
  return ours;
}

int status_of(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    RINGLET_CHECK(errno == EINTR, "waitpid: {}", std::strerror(errno));
  }
  return WIFEXITED(status) ? WEXITSTATUS(status)
                           : kSignalBase + WTERMSIG(status);
}

}  // namespace

int launch_command(int argc, char** argv) {
  const std::string first = argc > 1 ? argv[1] : "";
  if (first == "--help" || first == "-h") {
    fmt::print("{}", kUsage);
    return 0;
  }
  const std::vector<std::string> words = command_line(argc, argv);
  set_environment();
  std::array<int, 2> errors{};
  RINGLET_CHECK(::pipe2(errors.data(), O_CLOEXEC) == 0, "pipe: {}",
                std::strerror(errno));
  std::signal(SIGCHLD, SIG_DFL);  // or its status would be lost
  mpirun = ::fork();
  RINGLET_CHECK(mpirun >= 0, "fork: {}", std::strerror(errno));
  if (mpirun == 0) become_mpirun(words, errors[1]);
  ::setpgid(mpirun, mpirun);  // whoever of the two comes first
  ::close(errors[1]);
  for (const int signal :
       {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGALRM}) {
    handle(signal);
  }
  const std::string ours = forward_errors(errors[0]);
  const int status = status_of(mpirun);
  fmt::print(stderr, "{}", ours);
  return status;
}

}  // namespace ringlet
