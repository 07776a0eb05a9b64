#include "engine/parallel/agreement.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <sstream>
#include <thread>

#include "collectives/guard/watchdog.h"
#include "collectives/mpi_scope.h"
#include "collectives/transport.h"

namespace ringlet {
namespace {

std::string broadcast_text(Communicator& communicator, std::string text,
                           int root) {
  std::uint64_t length = text.size();
  communicator.broadcast(&length, sizeof length, root);
  text.resize(length);
  communicator.broadcast(text.data(), length, root);
  return text;
}

// The first line in which two texts differ, of each.
std::optional<std::pair<std::string, std::string>> first_difference(
    const std::string& a, const std::string& b) {
  if (a == b) return std::nullopt;
  std::istringstream lines_a(a), lines_b(b);
  std::string line_a, line_b;
  const auto next = [](std::istringstream& lines) {
    std::string line;
    return std::getline(lines, line) ? line : "nothing";
  };
  do {
    line_a = next(lines_a);
    line_b = next(lines_b);
  } while (line_a == line_b && (lines_a || lines_b));
  return std::pair{line_a, line_b};
}

// Who this is; rank 0 where the launcher's account of it is the error.
LaunchInfo self_or_first() {
  try {
    return launch_info();
  } catch (const Error&) {
    return {};
  }
}

}  // namespace

void agree(Communicator& communicator, const std::function<void()>& action) {
  std::string message;
  std::int64_t first_failed = communicator.size();
  try {
    action();
  } catch (const std::exception& error) {
    message = error.what();
    first_failed = communicator.rank();
  }
  communicator.all_reduce(&first_failed, 1, Dtype::kI64, ReduceOp::kMin);
  if (first_failed == communicator.size()) return;
  const auto root = static_cast<int>(first_failed);
  message = broadcast_text(communicator, message, root);
  // Rank 0 speaks for all; another rank's trouble may be its machine's own.
  if (root > 0) message = fmt::format("rank {}: {}", root, message);
  throw SharedError(message);
}

void end_job(const char* program, const std::exception& error) {
  using std::chrono::milliseconds;
  constexpr milliseconds kHeadStart{100}, kLongest{1000}, kWait{2000};
  // Who is asked to end meanwhile has nothing to add.
  std::signal(SIGTERM, SIG_DFL);
  const LaunchInfo self = self_or_first();
  const bool shared = dynamic_cast<const SharedError*>(&error) != nullptr;
  const bool mismatch = dynamic_cast<const MismatchError*>(&error) != nullptr;
  // What another rank says: one with an error of its own, for which this one
  // has waited, or the first of those that all have the same.
  const bool consequence = dynamic_cast<const Cancelled*>(&error) != nullptr ||
                           (mismatch && self.rank > 0);
  if ((shared && self.rank > 0) || consequence) {
    std::this_thread::sleep_for(kWait);
  }
  std::this_thread::sleep_for(std::min(kHeadStart * self.rank, kLongest));
  if (!shared && self.size > 1) {
    fmt::print(stderr, "{}: rank {}: {}\n", program, self.rank, error.what());
  } else if (self.rank == 0) {
    fmt::print(stderr, "{}: {}\n", program, error.what());
  }
  std::fflush(nullptr);
  abort_job(mismatch ? kMismatchStatus : 1);
}

std::vector<std::string> gather_text(Communicator& communicator,
                                     const std::string& mine) {
  std::vector<std::string> texts;
  for (int root = 0; root < communicator.size(); ++root) {
    texts.push_back(broadcast_text(
        communicator, root == communicator.rank() ? mine : "", root));
  }
  return texts;
}

void require_equal(Communicator& communicator, const std::string& what,
                   const std::string& mine) {
  const std::string first = broadcast_text(communicator, mine, 0);
  agree(communicator, [&] {
    if (const auto difference = first_difference(first, mine)) {
      throw Error(
          fmt::format("{} is not the same on all ranks: '{}' here, "
                      "'{}' on rank 0",
                      what, difference->second, difference->first));
    }
  });
}

}  // namespace ringlet
