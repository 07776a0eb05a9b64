#pragma once

#include <fmt/format.h>

#include <string>
#include <utility>

namespace ringlet {

enum class State { kOk, kWarn, kError };  // kError: something will not work

inline const char* name_of(State state) {
  constexpr const char* kNames[] = {"ok", "warn", "error"};
  return kNames[static_cast<int>(state)];
}

// What `ringlet doctor` has found of one thing.
struct Finding {
  std::string what;  // "cores"
  State state;
  std::string detail;
  std::string fix;  // empty where it is kOk
};

inline Finding ok(const char* what, std::string detail) {
  return {what, State::kOk, std::move(detail), ""};
}

inline Finding warn(const char* what, std::string detail, std::string fix) {
  return {what, State::kWarn, std::move(detail), std::move(fix)};
}

inline Finding error(const char* what, std::string detail, std::string fix) {
  return {what, State::kError, std::move(detail), std::move(fix)};
}

// "1 core", "2 cores".
inline std::string count(int number, const char* thing) {
  return fmt::format("{} {}{}", number, thing, number == 1 ? "" : "s");
}

inline constexpr double kMebibyte = 1 << 20;

}  // namespace ringlet
