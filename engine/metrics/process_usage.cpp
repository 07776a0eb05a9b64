#include "engine/metrics/process_usage.h"

#include <sys/resource.h>

#include <cerrno>
#include <cstring>

#include "kernels/runtime/check.h"

namespace ringlet {
namespace {

constexpr double kKibPerMib = 1024;
constexpr double kMicro = 1e-6;

double seconds_of(const timeval& time) {
  return static_cast<double>(time.tv_sec) +
         static_cast<double>(time.tv_usec) * kMicro;
}

}  // namespace

ProcessUsage process_usage() {
  rusage usage{};
  RINGLET_CHECK(getrusage(RUSAGE_SELF, &usage) == 0, "getrusage: {}",
                std::strerror(errno));
  return {usage.ru_minflt, static_cast<double>(usage.ru_maxrss) / kKibPerMib,
          seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime)};
}

}  // namespace ringlet
