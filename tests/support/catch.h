#pragma once

// Catch2 version 2 and 3 differ in their headers only.
#ifdef RINGLET_CATCH2_V2
#include <catch2/catch.hpp>
#else
#include <catch2/catch_all.hpp>
using Catch::Approx;
namespace Catch {
using Matchers::ContainsSubstring;
inline auto Contains(const std::string& text) {
  return ContainsSubstring(text);
}
}  // namespace Catch
#endif
