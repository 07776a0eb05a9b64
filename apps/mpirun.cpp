#include "apps/mpirun.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "kernels/runtime/check.h"

namespace ringlet {
namespace {

constexpr int kNotFound = 127;  // as shells say it

// For Open MPI 4 and 5.
constexpr std::pair<const char*, const char*> kSettings[] = {
    {"OMPI_ALLOW_RUN_AS_ROOT", "1"},
    {"OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"},
    {"OMPI_MCA_rmaps_base_oversubscribe", "1"},
    {"PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe"},
    {"OMPI_MCA_hwloc_base_binding_policy", "none"},
    {"PRTE_MCA_hwloc_default_binding_policy", "none"}};

std::string quoted(const std::string& word) {
  constexpr const char* kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=,+@";
  if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) {
    return word;
  }
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? "'\\''" : std::string(1, c);
  return text + "'";
}

}  // namespace

void set_mpirun_environment() {
  for (const auto& [name, value] : kSettings) setenv(name, value, 0);
}

std::string own_path() {
  std::array<char, 4096> path{};
  const ssize_t length =
      ::readlink("/proc/self/exe", path.data(), path.size() - 1);
  RINGLET_CHECK(length > 0, "/proc/self/exe: {}", std::strerror(errno));
  return {path.data(), static_cast<std::size_t>(length)};
}

std::vector<std::string> mpirun_words(const std::vector<std::string>& options,
                                      const std::vector<std::string>& command) {
  std::vector<std::string> words{"mpirun"};
  words.insert(words.end(), options.begin(), options.end());
  words.push_back(own_path());
  words.insert(words.end(), command.begin(), command.end());
  return words;
}

std::string shell_line(const std::vector<std::string>& words) {
  std::string line;
  for (const std::string& word : words) line += quoted(word) + " ";
  line.pop_back();
  return line;
}

std::string mpirun_line(const std::vector<std::string>& words) {
  std::string line;
  for (const auto& [name, value] : kSettings) {
    if (std::getenv(name) == nullptr)
      line += fmt::format("{}={} ", name, value);
  }
  return line + shell_line(words);
}

void become(const std::vector<std::string>& words) {
  std::vector<char*> arguments;
  for (const std::string& word : words) {
    arguments.push_back(const_cast<char*>(word.c_str()));
  }
  arguments.push_back(nullptr);
  ::execvp(arguments[0], arguments.data());
  fmt::print(stderr, "ringlet: cannot start {}: {}\n", words[0],
             std::strerror(errno));
  std::fflush(nullptr);
  std::_Exit(kNotFound);
}

}  // namespace ringlet
