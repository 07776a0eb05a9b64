#include "kernels/runtime/threads.h"

#include <omp.h>
#include <sched.h>
#include <unistd.h>

#include "kernels/runtime/check.h"

namespace ringlet {
namespace {

cpu_set_t affinity() {
  cpu_set_t set;
  CPU_ZERO(&set);
  RINGLET_CHECK(sched_getaffinity(0, sizeof set, &set) == 0,
                "sched_getaffinity failed");
  return set;
}

}  // namespace

int host_cores() { return static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN)); }

std::string allowed_cores() {
  const cpu_set_t set = affinity();
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
  const cpu_set_t set = affinity();
  return CPU_COUNT(&set);
}

void set_kernel_threads(int count) { omp_set_num_threads(count); }
int kernel_threads() { return omp_get_max_threads(); }

void check_processor() {
#if defined(__AVX512F__)
  constexpr const char* kLevel = "x86-64-v4 (AVX-512)";
  const bool able =
      __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#elif defined(__AVX2__)
  constexpr const char* kLevel = "x86-64-v3 (AVX2)";
  const bool able =
      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
  constexpr const char* kLevel = "the compiler's default";
  const bool able = true;
#endif
  if (able) return;
  throw Error(fmt::format(
      "this program was built for processors of the level {}, which this one "
      "is not: build it here, or with cmake -DRINGLET_MARCH=x86-64-v2",
      kLevel));
}

}  // namespace ringlet
