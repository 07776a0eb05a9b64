#pragma once

// NVTX is headers alone, which come with the toolkit; PyPI has them in a
// package of their own, nvidia-nvtx, which may be missing.
#if __has_include(<nvtx3/nvToolsExt.h>)

#include <nvtx3/nvToolsExt.h>

namespace ringlet::cuda {

inline void push_range(const char* name) {
  // NVTX looks for a profiler at its first call and guards its table of
  // functions against no other thread, so all threads wait for that call.
  static const bool initialised = (nvtxInitialize(nullptr), true);
  static_cast<void>(initialised);
  nvtxRangePushA(name);
}
inline void pop_range() { nvtxRangePop(); }

}  // namespace ringlet::cuda

#else

namespace ringlet::cuda {

inline void push_range(const char*) {}
inline void pop_range() {}

}  // namespace ringlet::cuda

#endif
