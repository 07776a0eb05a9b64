#include "apps/doctor_facts.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <set>
#include <sstream>

#include "collectives/gpu/nccl_communicator.h"
#include "engine/io/durable_files.h"
#include "engine/io/run_directory.h"
#include "kernels/runtime/cuda_library.h"

namespace ringlet {
namespace {

constexpr double kSeconds = 3;       // for what is done at once where it works
constexpr double kDiskSeconds = 15;  // others may write much at that time
constexpr double kGpuSeconds = 10;   // a driver may have to wake up first
constexpr std::size_t kProbeBytes = 1 << 20;

std::string value_of(const char* variable) {
  const char* value = std::getenv(variable);
  return value == nullptr ? "" : value;
}

// Of /proc or /sys; "" where there is no such file.
std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// Those of the processors that this process may run on.
int physical_cores() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return 1;
  std::set<std::string> cores;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    const std::string siblings = first_line(fmt::format(
        "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list", cpu));
    cores.insert(siblings.empty() ? std::to_string(cpu) : siblings);
  }
  return static_cast<int>(cores.size());
}

// The least of this process's cgroup and those around it, in processors.
double cgroup_quota() {
  std::ifstream groups("/proc/self/cgroup");
  std::string line;
  double least = 0;
  const auto take = [&](double quota, double period) {
    if (quota <= 0 || period <= 0) return;
    least = least > 0 ? std::min(least, quota / period) : quota / period;
  };
  while (std::getline(groups, line)) {
    if (!line.starts_with("0::")) continue;
    const std::filesystem::path root = "/sys/fs/cgroup";
    for (std::filesystem::path group = line.substr(3);;
         group = group.parent_path()) {
      double quota = 0, period = 0;  // "max 100000" where there is none
      const std::string limit =
          first_line((root / group.relative_path() / "cpu.max").string());
      if (std::sscanf(limit.c_str(), "%lf %lf", &quota, &period) == 2) {
        take(quota, period);
      }
      if (!group.has_relative_path()) break;
    }
  }
  const std::string old = "/sys/fs/cgroup/cpu/cpu.cfs_";  // of version 1
  take(std::atof(first_line(old + "quota_us").c_str()),
       std::atof(first_line(old + "period_us").c_str()));
  return least;
}

std::uint64_t free_bytes(const std::string& folder) {
  struct statvfs info {};
  if (statvfs(folder.c_str(), &info) != 0) return 0;
  return static_cast<std::uint64_t>(info.f_bavail) * info.f_frsize;
}

// As HostMemory and Open MPI go about it: a process and its child, of which the
// second opens a file of the first, and reads its memory.
void try_memory() {
  std::signal(SIGXFSZ, SIG_IGN);                // an error is enough
  ::prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);  // as Open MPI does, for Yama
  const int file = memfd_create("ringlet", MFD_CLOEXEC);
  int make_error = file < 0 ? errno : 0;
  if (make_error == 0) make_error = posix_fallocate(file, 0, kProbeBytes);
  const std::string path = fmt::format("/proc/{}/fd/{}", getpid(), file);
  const std::uint64_t secret = 0x72696e676c6574;
  std::uint64_t copy = 0;
  const pid_t owner = getpid(), other = ::fork();
  if (other == 0) {
    int open_error = 0, read_error = 0;
    if (file >= 0 && ::open(path.c_str(), O_RDWR | O_CLOEXEC) < 0) {
      open_error = errno;
    }
    const iovec to{&copy, sizeof copy};
    const iovec from{const_cast<std::uint64_t*>(&secret), sizeof secret};
    if (process_vm_readv(owner, &to, 1, &from, 1, 0) < 0) {
      read_error = errno;
    } else if (copy != secret) {
      read_error = EIO;
    }
    fmt::print("{} {} {}", make_error, open_error, read_error);
    return;
  }
  ::waitpid(other, nullptr, 0);
}

void print_gpu() {
  const std::string why_none = cuda::why_none();
  fmt::print("{}\n", why_none);
  if (!why_none.empty()) return;
  fmt::print("{}\n{}\n{}\n", cuda::library().gpu_count(),
             cuda::library().describe(),
             why_no_nccl().empty() ? nccl_version() : "");
}

// Listens on 127.0.0.1 and connects to it, as mpirun and its ranks do.
void try_loopback() {
  const int listening = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int connecting = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* place = reinterpret_cast<sockaddr*>(&address);
  socklen_t size = sizeof address;
  const bool fine = ::bind(listening, place, size) == 0 &&
                    ::listen(listening, 1) == 0 &&
                    ::getsockname(listening, place, &size) == 0 &&
                    ::connect(connecting, place, size) == 0;
  if (!fine) throw Error(std::strerror(errno));
}

void try_to_resolve(const std::string& hostname) {
  addrinfo* found = nullptr;
  const int error = getaddrinfo(hostname.c_str(), nullptr, nullptr, &found);
  if (error != 0) throw Error(gai_strerror(error));
  freeaddrinfo(found);
}

std::vector<std::string> interfaces() {
  ifaddrs* first = nullptr;
  if (getifaddrs(&first) != 0) return {};
  std::set<std::string> names;
  for (const ifaddrs* i = first; i != nullptr; i = i->ifa_next) {
    const bool up = (i->ifa_flags & IFF_UP) && !(i->ifa_flags & IFF_LOOPBACK);
    if (up && i->ifa_addr != nullptr && i->ifa_addr->sa_family == AF_INET) {
      names.insert(i->ifa_name);
    }
  }
  freeifaddrs(first);
  return {names.begin(), names.end()};
}

// What the writing of a checkpoint asks of a disk.
void try_disk(const std::filesystem::path& folder) {
  std::signal(SIGXFSZ, SIG_IGN);
  const std::vector<std::byte> bytes(kProbeBytes);
  const auto name = [&](const char* end) {
    return folder / fmt::format(".doctor-{}{}", getpid(), end);
  };
  const std::filesystem::path made = name(".tmp"), renamed = name("");
  try {
    make_folder(made);
    write_new_file(made / "file", {bytes});
    sync_folder(made);
    replace_folder(made, renamed);
  } catch (...) {
    remove_folder(made);
    throw;
  }
  remove_folder(renamed);
}

}  // namespace

ProcessorFacts processor_facts() {
  return {host_info().cpu_model, processor_instruction_set(),
          built_instruction_set()};
}

CoreFacts core_facts(int ranks) {
  return {.ranks = ranks,
          .processors = allowed_core_count(),
          .cores = physical_cores(),
          .quota = cgroup_quota(),
          .threads = value_of("OMP_NUM_THREADS")};
}

RootFacts root_facts() {
  return {geteuid() == 0,
          value_of("OMPI_ALLOW_RUN_AS_ROOT") == "1" &&
              value_of("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM") == "1"};
}

Environment environment_facts() {
  Environment found;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos || !matters(text)) continue;
    found[text.substr(0, equals)] = text.substr(equals + 1);
  }
  return found;
}

MemoryFacts memory_facts(int ranks) {
  MemoryFacts facts;
  facts.ranks = ranks;
  const Child child = run_child(kSeconds, try_memory);
  if (std::sscanf(child.output.c_str(), "%d %d %d", &facts.make_error,
                  &facts.open_error, &facts.read_error) != 3) {
    facts.make_error = facts.open_error = facts.read_error = EPERM;
  }
  facts.ptrace_scope = first_line("/proc/sys/kernel/yama/ptrace_scope");
  facts.cma_off =
      value_of("OMPI_MCA_btl_vader_single_copy_mechanism") == "none";
  facts.dev_shm_free = free_bytes("/dev/shm");
  facts.huge_pages = first_line("/sys/kernel/mm/transparent_hugepage/enabled");
  rlimit limit{};
  getrlimit(RLIMIT_FSIZE, &limit);
  facts.largest_file = limit.rlim_cur;
  return facts;
}

NetworkFacts network_facts() {
  const std::string hostname = host_info().hostname;
  const auto why_not = [](const std::function<void()>& action) {
    const Child child = run_child(kSeconds, action);
    if (child.timed_out) return std::string("no answer");
    return child.succeeded() ? "" : child.output;
  };
  return {.hostname = hostname,
          .why_no_loopback = why_not(try_loopback),
          .why_no_address = why_not([&] { try_to_resolve(hostname); }),
          .interfaces = interfaces()};
}

DiskFacts disk_facts(const std::filesystem::path& folder) {
  DiskFacts facts;
  const Child child = run_child(kDiskSeconds, [&] {
    std::error_code none;
    std::filesystem::path there = std::filesystem::absolute(folder);
    while (!std::filesystem::exists(there, none) && there.has_relative_path()) {
      there = there.parent_path();
    }
    fmt::print("{} {}\n", free_bytes(there.string()), there.string());
    std::fflush(nullptr);
    try_disk(there);
  });
  std::istringstream lines(child.output);
  lines >> facts.free;
  lines.get();
  std::getline(lines, facts.folder);
  std::getline(lines, facts.error);
  if (child.timed_out) facts.error = folder.string() + " does not answer";
  return facts;
}

GpuFacts gpu_facts(int ranks) {
  GpuFacts facts{.driver = cuda::has_driver(), .ranks = ranks};
  if (const char* visible = std::getenv("CUDA_VISIBLE_DEVICES")) {
    facts.visible = visible;
  }
  const Child child = run_child(kGpuSeconds, print_gpu);
  std::istringstream lines(child.output);
  std::getline(lines, facts.why_none);
  lines >> facts.count;
  lines.get();
  std::getline(lines, facts.name);
  std::getline(lines, facts.nccl);
  if (!child.succeeded()) {
    facts.why_none = child.timed_out
                         ? "the driver does not answer"
                         : fmt::format("CUDA ended with status {}: {}",
                                       child.status, child.output);
  }
  return facts;
}

}  // namespace ringlet
