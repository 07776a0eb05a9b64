#pragma once

#include <charconv>
#include <optional>
#include <string_view>

namespace ringlet {

// Of all of `text`; nothing where that is no such number, or has no room.
template <typename Number>
std::optional<Number> parse_number(std::string_view text) {
  Number number{};
  const char* end = text.data() + text.size();
  const auto [parsed, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || parsed != end) return std::nullopt;
  return number;
}

}  // namespace ringlet
