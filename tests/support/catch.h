#pragma once

// Catch2 version 2 and 3 differ in their headers and in one matcher's name.
#ifdef RINGLET_CATCH2_V2
#include <catch2/catch.hpp>
inline auto ContainsSubstring(const std::string& text) {
  return Catch::Matchers::Contains(text);
}
#else
#include <catch2/catch_all.hpp>
using Catch::Approx;
using Catch::Matchers::ContainsSubstring;
#endif
using Catch::Matchers::EndsWith;
using Catch::Matchers::StartsWith;
