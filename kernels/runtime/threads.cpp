#include "kernels/runtime/threads.h"

#include <omp.h>
#include <sched.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "kernels/runtime/check.h"

namespace ringlet {
namespace {

// Of a process, 0 for this one; this one's where the other cannot be asked.
cpu_set_t affinity(pid_t process) {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(process, sizeof set, &set) == 0) return set;
  RINGLET_CHECK(process != 0, "sched_getaffinity: {}", std::strerror(errno));
  return affinity(0);
}

}  // namespace

// Whoever started this process, a shell or a launcher, is not bound to the
// cores of a single rank as the process itself may be; but a container that
// was given some of the machine's cores holds them both.
int host_cores() {
  const cpu_set_t set = affinity(getppid());
  return CPU_COUNT(&set);
}

std::string allowed_cores() {
  const cpu_set_t set = affinity(0);
  std::string ranges;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &set)) continue;
    int last = cpu;
    while (last + 1 < CPU_SETSIZE && CPU_ISSET(last + 1, &set)) ++last;
    if (!ranges.empty()) ranges += ",";
    ranges +=
        last > cpu ? fmt::format("{}-{}", cpu, last) : std::to_string(cpu);
    cpu = last;
  }
  return ranges;
}

int allowed_core_count() {
  const cpu_set_t set = affinity(0);
  return CPU_COUNT(&set);
}

void set_kernel_threads(int count) { omp_set_num_threads(count); }
int kernel_threads() { return omp_get_max_threads(); }

InstructionSet built_instruction_set() {
#if defined(__AVX512F__)
  return InstructionSet::kAvx512;
#elif defined(__AVX2__)
  return InstructionSet::kAvx2;
#else
  return InstructionSet::kDefault;
#endif
}

InstructionSet processor_instruction_set() {
#if defined(__x86_64__)
  const bool avx2 = __builtin_cpu_supports("avx2") &&
                    __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("bmi2");
  if (avx2 && __builtin_cpu_supports("avx512f") &&
      __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512cd") &&
      __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl")) {
    return InstructionSet::kAvx512;
  }
  if (avx2) return InstructionSet::kAvx2;
#endif
  return InstructionSet::kDefault;
}

const char* name_of(InstructionSet set) {
  switch (set) {
    case InstructionSet::kAvx512:
      return "x86-64-v4 (AVX-512)";
    case InstructionSet::kAvx2:
      return "x86-64-v3 (AVX2)";
    case InstructionSet::kDefault:
      return "the compiler's default";
  }
  return "unknown";
}

void check_processor() {
  if (processor_instruction_set() >= built_instruction_set()) return;
  throw Error(
      fmt::format("this program was built for processors of the level {}, "
                  "which this one is not: build it here, or with cmake "
                  "-DRINGLET_MARCH=x86-64-v2",
                  name_of(built_instruction_set())));
}

}  // namespace ringlet
