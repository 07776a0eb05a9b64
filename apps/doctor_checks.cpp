#include "apps/doctor_checks.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <strings.h>

#include <algorithm>
#include <cstring>

#include "kernels/runtime/number.h"

namespace ringlet {
namespace {

constexpr const char* kWithoutCma =
    "OMPI_MCA_btl_vader_single_copy_mechanism=none";

// OpenMP takes the first of "4,2". 0 where that is no number above 0.
int number_of_threads(const std::string& text) {
  const std::string first = text.substr(0, text.find(','));
  return std::max(0, parse_number<int>(first).value_or(0));
}

int fair_threads(const CoreFacts& facts) {
  const double share = facts.quota > 0
                           ? std::min<double>(facts.quota, facts.processors)
                           : facts.processors;
  return std::max(1, static_cast<int>(share) / facts.ranks);
}

}  // namespace

Finding judge_processor(const ProcessorFacts& facts) {
  const std::string detail =
      fmt::format("{}, built for {}", facts.model, name_of(facts.built_for));
  if (facts.has <= facts.built_for) return ok("processor", detail);
  return warn("processor",
              fmt::format("{}, but it is {}", detail, name_of(facts.has)),
              "build it on this machine (scripts/build release): it is faster");
}

int threads_of_rank(const CoreFacts& facts) {
  const int asked = number_of_threads(facts.threads);
  return asked > 0 ? asked : std::max(1, facts.processors / facts.ranks);
}

Finding judge_cores(const CoreFacts& facts) {
  std::string detail =
      fmt::format("{} on {}", count(facts.processors, "processor"),
                  count(facts.cores, "core"));
  if (facts.quota <= 0 || facts.quota >= facts.processors) {
    return ok("cores", detail);
  }
  detail +=
      fmt::format(", but its cgroup allows the time of {:.1f}", facts.quota);
  // Who has said how many threads he wants has seen it.
  if (threads_of_rank(facts) <= fair_threads(facts)) {
    return ok("cores", detail);
  }
  return warn("cores", detail + ": threads are stopped in between",
              fmt::format("OMP_NUM_THREADS={}, or give the container more",
                          fair_threads(facts)));
}

Finding judge_slots(const CoreFacts& facts) {
  const std::string detail = fmt::format("{} on {}", count(facts.ranks, "rank"),
                                         count(facts.cores, "core"));
  if (facts.ranks <= facts.cores) return ok("slots", detail);
  return warn("slots",
              detail + (facts.ranks > facts.processors
                            ? " take turns, and plain mpirun refuses them"
                            : " share them, and plain mpirun refuses them"),
              "fewer ranks; or as below, which lets mpirun start them");
}

Finding judge_threads(const CoreFacts& facts) {
  const int threads = threads_of_rank(facts);
  const std::string detail =
      fmt::format("{} for each of {}", count(threads, "thread"),
                  count(facts.ranks, "rank"));
  const int fair = fair_threads(facts);
  // Unset, it would be too many where a cgroup has a quota.
  const bool unset = facts.processors / facts.ranks <= fair;
  const std::string fix = fmt::format(
      "{} {}",
      unset ? "unset OMP_NUM_THREADS, or set it to" : "set OMP_NUM_THREADS to",
      fair);
  if (!facts.threads.empty() && number_of_threads(facts.threads) == 0) {
    return warn("threads",
                fmt::format("OMP_NUM_THREADS is '{}', expected a number above "
                            "0",
                            facts.threads),
                fix);
  }
  // Ranks of one thread that are too many are what `slots` is about.
  if (threads == 1 || threads * facts.ranks <= facts.processors) {
    return ok("threads", detail);
  }
  return warn(
      "threads",
      fmt::format("{} (OMP_NUM_THREADS={}) slow each other down on {}", detail,
                  facts.threads, count(facts.processors, "processor")),
      fix);
}

std::string settings_of(const std::vector<Finding>& findings,
                        const CoreFacts& facts) {
  const auto warns = [&](const char* what) {
    return std::any_of(findings.begin(), findings.end(), [&](const Finding& f) {
      return f.what == what && f.state != State::kOk;
    });
  };
  std::string settings;
  if (warns("cores") || warns("threads")) {
    settings += fmt::format("OMP_NUM_THREADS={} ", fair_threads(facts));
  }
  if (warns("cma")) settings += fmt::format("{} ", kWithoutCma);
  return settings;
}

Finding judge_root(const RootFacts& facts) {
  if (!facts.root) return ok("user", "not root");
  if (facts.allowed) {
    return ok("user", "root, which OMPI_ALLOW_RUN_AS_ROOT allows");
  }
  return warn("user", "root, whom plain mpirun (Open MPI) refuses",
              "start as below, or after `. scripts/env`");
}

bool matters(const std::string& variable) {
  constexpr const char* kPrefixes[] = {
      "OMP_",  "GOMP_",   "KMP_",           "OMPI_", "PRTE_MCA_", "PMIX_MCA_",
      "NCCL_", "MALLOC_", "GLIBC_TUNABLES", "DNNL_", "UCX_",      "RINGLET_"};
  return std::any_of(
      std::begin(kPrefixes), std::end(kPrefixes),
      [&](const char* prefix) { return variable.starts_with(prefix); });
}

Finding judge_environment(const Environment& environment) {
  const std::map<std::string, const char*> harm{
      {"OMP_PROC_BIND", "ties threads of all ranks to the same cores"},
      {"OMP_PLACES", "ties threads of all ranks to the same cores"},
      {"GOMP_CPU_AFFINITY", "ties threads of all ranks to the same cores"},
      {"MALLOC_CHECK_", "makes memory slow"},
      {"MALLOC_PERTURB_", "makes memory slow"}};
  std::vector<std::string> harmful, why, harmless;
  for (const auto& [name, value] : environment) {
    const std::string text = name + "=" + value;
    const auto found = harm.find(name);
    const bool off = value.empty() || value == "0" ||
                     ::strcasecmp(value.c_str(), "false") == 0;
    if (found == harm.end() || off) {
      harmless.push_back(text);
    } else {
      harmful.push_back(name);
      why.push_back(fmt::format("{} {}", text, found->second));
    }
  }
  if (!harmful.empty()) {
    return warn("environment", fmt::format("{}", fmt::join(why, ", ")),
                fmt::format("unset {}", fmt::join(harmful, " ")));
  }
  return ok("environment",
            harmless.empty()
                ? "nothing set that changes a run"
                : fmt::format("in effect: {}", fmt::join(harmless, " ")));
}

Finding judge_shared_memory(const MemoryFacts& facts) {
  const int failed = facts.make_error ? facts.make_error : facts.open_error;
  if (failed == 0) {
    return ok("shared memory", "ranks of this host map each other's gradients");
  }
  return warn(
      "shared memory",
      fmt::format("{}: {}; --comm auto then sends messages, which is slower",
                  facts.make_error ? "no anonymous file of 1 MiB"
                                   : "no access to another process's files",
                  std::strerror(failed)),
      facts.make_error
          ? "raise the limits of file sizes and memory (ulimit -a)"
          : "mount /proc as usual; in a container --cap-add=SYS_PTRACE");
}

Finding judge_cma(const MemoryFacts& facts) {
  if (facts.read_error == 0) {
    return ok("cma",
              "processes may read each other's memory "
              "(process_vm_readv)");
  }
  if (facts.cma_off) {
    return ok("cma", "not allowed here, and Open MPI is told so");
  }
  const bool yama = !facts.ptrace_scope.empty() && facts.ptrace_scope != "0";
  return warn(
      "cma",
      fmt::format("process_vm_readv: {}{}; Open MPI's messages between ranks "
                  "of this host may fail (\"Read -1, expected ...\")",
                  std::strerror(facts.read_error),
                  yama ? ", Yama's ptrace_scope is " + facts.ptrace_scope : ""),
      fmt::format("{}; or {}", kWithoutCma,
                  yama ? "sysctl kernel.yama.ptrace_scope=0"
                       : "a container with --cap-add=SYS_PTRACE"));
}

Finding judge_dev_shm(const MemoryFacts& facts) {
  // Open MPI's segment is 4 MiB per rank, and its job has some more.
  constexpr double kPerRank = 8 * kMebibyte;
  const auto free = static_cast<double>(facts.dev_shm_free);
  const std::string detail =
      fmt::format("{:.0f} MiB free, for Open MPI's messages", free / kMebibyte);
  if (free >= kPerRank * facts.ranks) return ok("/dev/shm", detail);
  return warn(
      "/dev/shm",
      detail +
          ", which go by TCP where that is too little; our gradients do not "
          "lie there",
      fmt::format("remove what is left there, or enlarge it: docker "
                  "run --shm-size={:.0f}m",
                  std::max(64.0, 2 * kPerRank * facts.ranks / kMebibyte)));
}

Finding judge_huge_pages(const MemoryFacts& facts) {
  if (facts.huge_pages.find("[always]") != std::string::npos ||
      facts.huge_pages.find("[madvise]") != std::string::npos) {
    return ok("huge pages", "transparent ones: " + facts.huge_pages);
  }
  return warn("huge pages",
              "no transparent ones: large arrays are slower to go through",
              "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled, as "
              "root of the host");
}

Finding judge_file_size(const MemoryFacts& facts) {
  // The weights of ResNet-20 and of ResNet-50, which are the largest file.
  constexpr double kSmall = 2 * kMebibyte, kLarge = 128 * kMebibyte;
  const auto largest = static_cast<double>(facts.largest_file);
  if (largest >= kLarge) return ok("file size", "no limit that matters");
  const std::string detail = fmt::format(
      "limited to {:.1f} MiB, of checkpoints and of shared memory; those of "
      "ResNet-50 take 90",
      largest / kMebibyte);
  return {"file size", largest < kSmall ? State::kError : State::kWarn, detail,
          "ulimit -f unlimited, or LimitFSIZE= of the service"};
}

}  // namespace ringlet
