#include "engine/parallel/agreement.h"

#include <fmt/format.h>

#include <cstdint>
#include <optional>
#include <sstream>

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
