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
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "apps/child.h"
#include "apps/cli.h"
#include "apps/commands.h"
#include "apps/mpirun.h"
#include "apps/restarts.h"
#include "collectives/guard/watchdog.h"
#include "kernels/runtime/check.h"
#include "kernels/runtime/number.h"

// A thin front of mpirun. mpirun runs in a process group of its own, so that
// Ctrl-C on the terminal reaches this program alone, which asks the ranks to
// save and end (SIGUSR2, which mpirun passes on) where mpirun would kill them.
// What the ranks say of an error comes last, after all that mpirun adds to it.
// A training that ended badly is started again, if so asked (Restarts).

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
    "Of a training (train), before --:\n"
    "  --max-restarts K  where a rank is killed, crashes, hangs or its host "
    "is\n"
    "                    lost, go on from the newest checkpoint, K times at "
    "most\n"
    "  --min-ranks M     on no fewer ranks than M (1), where hosts of "
    "--hostfile\n"
    "                    (NAME slots=N in each line) do not answer any more\n"
    "docs/multi-node.md says which ends are met with a restart.\n"
    "\n"
    "Examples:\n"
    "  ringlet launch -np 2 -- train --model resnet20 --epochs 3\n"
    "  ringlet launch -np 8 --hostfile hosts -- train --data /data/cifar10\n"
    "  ringlet launch -np 8 --hostfile hosts --max-restarts 3 -- train\n";

constexpr int kSignalBase = 128;  // as shells say it
constexpr int kSecondsToEnd = 3;  // after the second signal
// mpirun waits for ever for the daemon of a host that is gone without a word.
constexpr int kSecondsAfterHang = 10;
constexpr int kMillisecondsToLook = 500;
constexpr int kColumnsUnknown = 80;
constexpr std::string_view kOurs = "ringlet: ";
constexpr std::string_view kHang = "ringlet: hang: ";
constexpr std::string_view kGone = "ringlet: a rank is gone: ";
constexpr std::string_view kWarning = "ringlet: warning: ";
constexpr std::string_view kForwarding = "mpirun: Forwarding signal";

constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGALRM};

volatile std::sig_atomic_t signals = 0;
volatile std::sig_atomic_t ending = 0;  // its end was asked for
volatile std::sig_atomic_t forced = 0;  // mpirun was ended
volatile pid_t mpirun = 0;              // 0: none runs

// The first asks, the second ends, and after the alarm there is no mercy.
void pass_on(int signal) {
  if (signal != SIGALRM && signal != SIGUSR1) ending = 1;
  if (mpirun == 0) {
    if (signal != SIGALRM && signal != SIGUSR1) signals = signals + 1;
    return;
  }
  if (signal == SIGALRM) {
    forced = 1;
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

void forget(int signal) {
  struct sigaction action {};
  ::sigaction(signal, nullptr, &action);
  if (action.sa_handler == &pass_on) std::signal(signal, SIG_DFL);
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

struct LaunchOptions {
  JobWords job;
  std::size_t max_restarts = 0;
  std::optional<std::size_t> min_ranks;
};

// Of "--name N" or "--name=N"; moves on to the last word of it.
std::optional<std::size_t> number_of(const std::string& name, int& i, int argc,
                                     char** argv) {
  const std::string word = argv[i];
  if (word != name && !word.starts_with(name + "=")) return std::nullopt;
  std::string text;
  if (word != name) {
    text = word.substr(name.size() + 1);
  } else if (i + 1 < argc) {
    text = argv[++i];
  }
  const auto number = parse_number<std::size_t>(text).value_or(0);
  if (number < 1 || number > kLargestCount) {
    throw Error(fmt::format("launch: {} '{}': expected a number from 1 to {}",
                            name, text, kLargestCount));
  }
  return number;
}

LaunchOptions read_launch_options(int argc, char** argv) {
  LaunchOptions launch;
  int i = 1;
  for (; i < argc && std::string_view(argv[i]) != "--"; ++i) {
    if (const auto most = number_of("--max-restarts", i, argc, argv)) {
      launch.max_restarts = *most;
    } else if (const auto least = number_of("--min-ranks", i, argc, argv)) {
      launch.min_ranks = least;
    } else {
      launch.job.options.emplace_back(argv[i]);
    }
  }
  if (i + 1 >= argc) {
    throw Error(
        "launch: expected '-- COMMAND' after the options of mpirun, as in "
        "ringlet launch -np 2 -- train; see ringlet launch --help");
  }
  launch.job.command.assign(argv + i + 1, argv + argc);
  if (launch.min_ranks && launch.max_restarts == 0) {
    throw Error("launch: --min-ranks is for restarts: expected --max-restarts");
  }
  return launch;
}

[[noreturn]] void become_mpirun(const JobWords& job, int errors) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);  // should this program be killed
  ::dup2(errors, STDERR_FILENO);
  // Reading from the terminal would stop a process that is in the background.
  const int nothing = ::open("/dev/null", O_RDONLY);
  ::dup2(nothing, STDIN_FILENO);
  become(mpirun_words(job.options, job.command));
}

// Without what mpirun puts before each line, where it was asked to:
// "[1,0]<stderr>:".
std::string_view untagged(std::string_view line) {
  const std::size_t tag = line.find(">:");
  if (!line.starts_with('[') || tag == std::string_view::npos) return line;
  line.remove_prefix(tag + 2);
  return line;
}

struct Errors {
  std::string ours;       // our lines but warnings
  bool said_why = false;  // what ended a rank
};

// Not yet waited for.
bool has_ended(pid_t child) {
  siginfo_t info{};
  ::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOHANG | WNOWAIT);
  return info.si_pid != 0;
}

// Passes on what comes, line by line, but keeps our own lines for the end, and
// what mpirun says of the signal that was sent to it for itself. Who outlives
// an mpirun that was ended may hold the other end of the pipe.
Errors forward_errors(int from) {
  Errors errors;
  std::string line;
  std::array<char, 4096> buffer{};
  const auto end_line = [&] {
    const std::string_view text = untagged(line);
    if (text.starts_with(kOurs) && !text.starts_with(kWarning)) {
      errors.ours += line;
      if (text.starts_with(kHang)) ::alarm(kSecondsAfterHang);
      errors.said_why |= !text.starts_with(kHang) && !text.starts_with(kGone);
    } else if (!line.starts_with(kForwarding)) {
      std::fwrite(line.data(), 1, line.size(), stderr);
    }
    line.clear();
  };
  pollfd ready{from, POLLIN, 0};
  for (;;) {
    if (::poll(&ready, 1, kMillisecondsToLook) <= 0) {
      if (has_ended(mpirun)) break;
      continue;
    }
    const ssize_t length = ::read(from, buffer.data(), buffer.size());
    if (length < 0 && errno == EINTR) continue;
    if (length <= 0) break;
    for (ssize_t i = 0; i < length; ++i) {
      line += buffer[static_cast<std::size_t>(i)];
      if (line.back() == '\n') end_line();
    }
  }
  end_line();
  return errors;
}

int status_of(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    RINGLET_CHECK(errno == EINTR, "waitpid: {}", std::strerror(errno));
  }
  return shell_status(status);
}

// Starts mpirun, and says whether: not after a signal that asks for the end.
// None is to come between that question and the handler's knowing whom to tell.
bool start_mpirun(const JobWords& job, int errors) {
  sigset_t ours, before;
  sigemptyset(&ours);
  for (const int signal : kSignals) sigaddset(&ours, signal);
  ::sigprocmask(SIG_BLOCK, &ours, &before);
  const bool wanted = signals == 0;
  if (wanted) {
    const pid_t child = ::fork();
    RINGLET_CHECK(child >= 0, "fork: {}", std::strerror(errno));
    if (child == 0) {
      // What is sent to mpirun from here on is not for our handler.
      for (const int signal : kSignals) forget(signal);
      ::sigprocmask(SIG_SETMASK, &before, nullptr);
      become_mpirun(job, errors);
    }
    ::setpgid(child, child);  // whoever of the two comes first
    mpirun = child;
  }
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
  return wanted;
}

// The job, from its start to its end.
JobEnd run_job(const JobWords& job) {
  std::array<int, 2> errors{};
  RINGLET_CHECK(::pipe2(errors.data(), O_CLOEXEC) == 0, "pipe: {}",
                std::strerror(errno));
  forced = 0;
  const bool started = start_mpirun(job, errors[1]);
  ::close(errors[1]);
  const Errors said = forward_errors(errors[0]);
  ::close(errors[0]);
  if (!started) return {.status = kSignalBase + SIGTERM};
  int status = status_of(mpirun);
  mpirun = 0;
  ::alarm(0);
  fmt::print(stderr, "{}", said.ours);
  std::fflush(stderr);
  if (forced != 0 && signals == 0) status = kHangStatus;
  return {.status = status, .said_why = said.said_why};
}

}  // namespace

int launch_command(int argc, char** argv) {
  const std::string first = argc > 1 ? argv[1] : "";
  if (first == "--help" || first == "-h") {
    fmt::print("{}", kUsage);
    return 0;
  }
  const LaunchOptions launch = read_launch_options(argc, argv);
  std::optional<Restarts> restarts;
  if (launch.max_restarts > 0) {
    restarts.emplace(launch.job, launch.max_restarts,
                     launch.min_ranks.value_or(1));
  }
  set_environment();
  std::signal(SIGCHLD, SIG_DFL);  // or its status would be lost
  for (const int signal : kSignals) handle(signal);
  std::optional<JobWords> job = restarts ? restarts->job() : launch.job;
  JobEnd end;
  while (job) {
    end = run_job(*job);
    const bool over = !restarts || end.status == 0 || ending != 0;
    job = over ? std::nullopt : restarts->after(end);
  }
  return end.status;
}

}  // namespace ringlet
