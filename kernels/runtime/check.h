#pragma once

#include <fmt/format.h>

#include "kernels/runtime/error.h"

// RINGLET_CHECK(condition, "expected {} rows, got {}", want, have) throws an
// Error with the formatted text and the source line unless the condition
// holds. Not for .cu and .cuh files, which must not see fmt.
#define RINGLET_CHECK(condition, ...)                                        \
  do {                                                                       \
    if (!(condition)) [[unlikely]] {                                         \
      ::ringlet::fail_check(__FILE__, __LINE__, ::fmt::format(__VA_ARGS__)); \
    }                                                                        \
  } while (false)
