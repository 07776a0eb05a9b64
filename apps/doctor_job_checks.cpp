#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <sstream>
#include <string_view>

#include "apps/doctor_checks.h"

// MPI, and what a job of ranks meets.

namespace ringlet {
namespace {

// What a child said, in one line: our own lines where there are any, else
// mpirun's, without its rules, and without its log where there is more.
std::string message_of(const Child& child) {
  constexpr std::size_t kLongest = 600;
  std::istringstream lines(child.output);
  std::string line, ours, theirs, log;
  while (std::getline(lines, line)) {
    const bool rule = line.find_first_not_of("- ") == std::string::npos;
    if (rule) continue;
    if (line.starts_with("ringlet: ")) {
      ours += line.substr(9) + " ";
    } else {
      (line[0] == '[' ? log : theirs) += line + " ";
    }
  }
  std::string text = !ours.empty() ? ours : !theirs.empty() ? theirs : log;
  if (text.empty()) text = fmt::format("status {} ", child.status);
  text.pop_back();
  return text.size() > kLongest ? text.substr(0, kLongest) + "..." : text;
}

struct Version {
  const char* kind;  // "" where it is none that we know
  std::string number;
};

// The first that has a point: "4.1.4".
std::string first_number(const std::string& text) {
  constexpr const char* kDigits = "0123456789";
  std::size_t begin = 0, end = 0;
  while ((begin = text.find_first_of(kDigits, end)) != std::string::npos) {
    end = text.find_first_not_of("0123456789.", begin);
    const std::string number = text.substr(begin, end - begin);
    if (number.find('.') != std::string::npos) return number;
    if (end == std::string::npos) break;
  }
  return "";
}

Version version_in(const std::string& text) {
  const auto has = [&](const char* word) {
    return text.find(word) != std::string::npos;
  };
  const bool mpich =
      has("MPICH") || has("MVAPICH") || has("HYDRA") || has("Intel");
  const bool open_mpi = has("Open MPI") || has("OpenRTE");
  return {open_mpi ? "Open MPI" : mpich ? "MPICH" : "", first_number(text)};
}

}  // namespace

Finding judge_mpi(const MpiFacts& facts) {
  constexpr const char* kInstall =
      "install the mpirun of the MPI that this program was built with, and "
      "have it first in PATH (Debian: openmpi-bin)";
  if (facts.version.timed_out) {
    return error("mpirun", "`mpirun --version` does not come to an end",
                 kInstall);
  }
  if (!facts.version.succeeded()) {
    return error("mpirun", message_of(facts.version), kInstall);
  }
  const Version linked = version_in(facts.linked);
  const Version found = version_in(facts.version.output);
  const std::string detail = fmt::format("{} {} in PATH, {} linked", found.kind,
                                         found.number, facts.linked);
  if (std::string_view(linked.kind) != found.kind) {
    return error(
        "mpirun",
        fmt::format("mpirun in PATH is {}'s, {} is linked: each rank "
                    "would be a job of its own",
                    *found.kind ? found.kind : "another MPI", facts.linked),
        kInstall);
  }
  if (linked.number != found.number) return warn("mpirun", detail, kInstall);
  return ok("mpirun", detail);
}

Finding judge_job(const JobFacts& facts) {
  constexpr const char* kFix =
      "mend what stands above; then see what `mpirun -np 2 hostname` says";
  std::istringstream lines(facts.job.output);
  std::string line;
  std::vector<std::string> good, bad;
  bool fine_without = true;  // what failed is not what training takes
  while (std::getline(lines, line)) {
    if (line.starts_with("ok ")) good.push_back(line.substr(3));
    if (!line.starts_with("bad ")) continue;
    bad.push_back(line.substr(4));
    fine_without = fine_without && bad.back().starts_with("shared: ") &&
                   bad.back().find("wrong") == std::string::npos;
  }
  const std::string start =
      fmt::format("{} by mpirun", count(facts.ranks, "rank"));
  if (facts.job.timed_out) {
    return error(
        "job",
        fmt::format(
            "{}: not done after {:.0f} s{}", start, facts.job.seconds,
            good.empty() ? "" : fmt::format("; last was {}", good.back())),
        kFix);
  }
  if (!bad.empty()) {
    return {
        "job",
        fine_without && facts.job.succeeded() ? State::kWarn : State::kError,
        fmt::format("{}: {}", start, fmt::join(bad, "; ")), kFix};
  }
  if (!facts.job.succeeded() || good != facts.back_ends) {
    return error("job", fmt::format("{}: {}", start, message_of(facts.job)),
                 kFix);
  }
  return ok("job", fmt::format("{} all-reduce rightly in {:.1f} s: {}", start,
                               facts.job.seconds, fmt::join(good, ", ")));
}

Finding judge_binding(const JobFacts& facts) {
  std::istringstream lines(facts.job.output);
  std::string line;
  int least = 0;
  while (std::getline(lines, line)) {
    int cores = 0;
    if (std::sscanf(line.c_str(), "cores %d", &cores) != 1) continue;
    least = least == 0 ? cores : std::min(least, cores);
  }
  if (least == 0) {
    return warn("binding", "not known, as no rank said it", "see job");
  }
  const std::string detail =
      fmt::format("mpirun gives a rank {} for its {}",
                  count(least, "processor"), count(facts.threads, "thread"));
  if (least >= facts.threads) return ok("binding", detail);
  return warn("binding", detail,
              "unset what binds in the environment; mpirun --bind-to none");
}

Finding judge_network(const NetworkFacts& facts) {
  if (!facts.why_no_loopback.empty()) {
    return error("network",
                 fmt::format("no connection to 127.0.0.1, which mpirun needs: "
                             "{}",
                             facts.why_no_loopback),
                 "ip link set lo up, and let the firewall allow lo");
  }
  if (!facts.why_no_address.empty()) {
    return warn(
        "network",
        fmt::format("the name of this host, {}, has no address: {}",
                    facts.hostname, facts.why_no_address),
        fmt::format("add it to /etc/hosts: 127.0.1.1 {}", facts.hostname));
  }
  return ok(
      "network",
      fmt::format("127.0.0.1 answers; to other hosts: {}",
                  facts.interfaces.empty()
                      ? "none"
                      : fmt::format("{}", fmt::join(facts.interfaces, " "))));
}

Finding judge_disk(const DiskFacts& facts) {
  // Three checkpoints, the best, and the one that is written: 190 MB each.
  constexpr double kAll = 1000 * kMebibyte;
  if (!facts.error.empty()) {
    return error("disk", facts.error,
                 "ringlet train --out, a folder on a disk with room that you "
                 "may write to");
  }
  const auto free = static_cast<double>(facts.free);
  const std::string detail =
      fmt::format("{}: {:.0f} MiB free", facts.folder, free / kMebibyte);
  if (free >= kAll) return ok("disk", detail + "; writes, fsyncs, renames");
  return warn("disk", detail + "; the checkpoints of ResNet-50 take 1,000",
              "make room, --out elsewhere, or fewer of them (--keep)");
}

Finding judge_gpu(const GpuFacts& facts) {
  if (facts.why_none.empty()) {
    const std::string detail = fmt::format(
        "{}: {}, {}; MPI is never given a GPU's memory, so it need not be "
        "CUDA-aware",
        count(facts.count, "GPU"), facts.name,
        facts.nccl.empty() ? "no NCCL" : facts.nccl);
    if (facts.ranks > facts.count) {
      return warn("gpu", detail + "; ranks that share one take turns",
                  fmt::format("-np {}", facts.count));
    }
    if (facts.nccl.empty() && facts.ranks > 1) {
      return warn("gpu", detail,
                  "install NCCL and build again; --comm ring does without");
    }
    return ok("gpu", detail);
  }
  if (!facts.driver) return ok("gpu", "none, the CPU computes");
  if (facts.visible && (facts.visible->empty() || *facts.visible == "-1")) {
    return warn("gpu",
                fmt::format("hidden by CUDA_VISIBLE_DEVICES='{}'; the CPU "
                            "computes",
                            *facts.visible),
                "unset CUDA_VISIBLE_DEVICES");
  }
  return warn(
      "gpu",
      fmt::format("not used{}: {}; the CPU computes",
                  facts.visible ? fmt::format(" (CUDA_VISIBLE_DEVICES='{}')",
                                              *facts.visible)
                                : "",
                  facts.why_none),
      "make nvidia-smi work, with a driver for CUDA 12.8 or newer, and "
      "build where CMake finds the CUDA toolkit");
}

}  // namespace ringlet
