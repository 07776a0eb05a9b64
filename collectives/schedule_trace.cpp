#include "collectives/schedule_trace.h"

#include <algorithm>
#include <map>
#include <memory>

#include "kernels/runtime/check.h"

namespace ringlet {

std::vector<TracedStep> trace_schedule(const std::string& name, int ranks,
                                       std::size_t count) {
  constexpr int kMostRanks = 64;
  if (ranks < 1 || ranks > kMostRanks) {
    throw Error(fmt::format("{} ranks, expected 1 to {}", ranks, kMostRanks));
  }
  // Messages of all ranks by step; what is sent was there before the step.
  std::map<std::size_t, TracedStep> steps;
  std::size_t chunks = 1;
  for (int rank = 0; rank < ranks; ++rank) {
    const auto schedule = make_schedule(name, rank, ranks, count,
                                        std::max<std::size_t>(count, 1));
    for (std::size_t i = 0; i < schedule->size(); ++i) {
      const Exchange exchange = (*schedule)[i];
      const Message& receive = exchange.receive;
      TracedStep& step = steps[exchange.step];
      step.step = exchange.step;
      step.phase = exchange.phase;
      chunks = std::max({chunks, receive.chunk + 1, exchange.send.chunk + 1});
      if (receive.range.count == 0) continue;
      step.messages.push_back({receive.peer, rank, receive.chunk, receive.range,
                               exchange.arrival != Arrival::kReplaces});
    }
  }
  std::vector<std::vector<std::uint64_t>> holdings;
  for (int rank = 0; rank < ranks; ++rank) {
    holdings.emplace_back(chunks, std::uint64_t{1} << rank);
  }
  std::vector<TracedStep> trace;
  for (auto& [number, step] : steps) {
    const auto before = holdings;
    for (const TracedMessage& message : step.messages) {
      const auto from = static_cast<std::size_t>(message.from);
      const auto to = static_cast<std::size_t>(message.to);
      std::uint64_t& held = holdings[to][message.chunk];
      const std::uint64_t arrived = before[from][message.chunk];
      held = message.combined ? held | arrived : arrived;
    }
    step.holdings = holdings;
    trace.push_back(std::move(step));
  }
  return trace;
}

}  // namespace ringlet
