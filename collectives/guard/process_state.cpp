#include "collectives/guard/process_state.h"

#include <fmt/format.h>

#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <string>

namespace ringlet {
namespace {

struct Status {
  char state = 'X';
  std::uint64_t start = 0;
};

// The third and the 22nd field of /proc/N/stat; the second, the program's name
// in parentheses, may hold anything.
std::optional<Status> read_status(std::int64_t process) {
  std::ifstream file(fmt::format("/proc/{}/stat", process));
  std::string text((std::istreambuf_iterator<char>(file)), {});
  const std::size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream fields(text.substr(name_end + 1));
  Status status;
  fields >> status.state;
  std::string skipped;
  for (int field = 4; field < 22; ++field) fields >> skipped;
  fields >> status.start;
  return status;
}

}  // namespace

std::uint64_t start_of_process(std::int64_t process) {
  const auto status = read_status(process);
  return status ? status->start : 0;
}

ProcessState state_of_process(std::int64_t process, std::uint64_t start) {
  const auto status = read_status(process);
  if (!status || status->start != start) return ProcessState::kGone;
  switch (status->state) {
    case 'Z':
    case 'X':
      return ProcessState::kGone;
    case 'T':
    case 't':
      return ProcessState::kStopped;
    default:
      return ProcessState::kRuns;
  }
}

}  // namespace ringlet
