#include "collectives/schedule.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "collectives/schedules.h"
#include "kernels/runtime/check.h"

namespace ringlet {

Range share(Range whole, std::size_t parts, std::size_t index) {
  const std::size_t base = whole.count / parts;
  const std::size_t longer = whole.count % parts;  // parts with one more
  return {whole.begin + index * base + std::min(index, longer),
          base + (index < longer ? 1 : 0)};
}

const char* name_of(Phase phase) {
  switch (phase) {
    case Phase::kReduceScatter:
      return "reduce-scatter";
    case Phase::kAllGather:
      return "all-gather";
    case Phase::kReduce:
      return "reduce";
    case Phase::kBroadcast:
      return "broadcast";
    case Phase::kExchange:
      return "exchange";
    case Phase::kBarrier:
      break;
  }
  return "barrier";
}

Schedule::Schedule(int rank, int ranks, std::size_t count,
                   std::size_t slice_elements)
    : rank_(rank),
      ranks_(ranks),
      count_(count),
      slice_elements_(slice_elements) {
  RINGLET_CHECK(0 <= rank && rank < ranks, "rank {} of {}", rank, ranks);
  RINGLET_CHECK(slice_elements > 0, "a slice must hold an element");
}

void Schedule::cut(std::size_t longest) {
  slices_ = (longest + slice_elements_ - 1) / slice_elements_;
}

namespace {

std::string describe(const char* what, const char* way,
                     const Message& message) {
  return fmt::format("{} chunk {} [{}, {}) {} rank {}", what, message.chunk,
                     message.range.begin, message.range.end(), way,
                     message.peer);
}

const char* verb_of(Arrival arrival) {
  return arrival == Arrival::kReplaces ? "receive" : "receive and combine";
}

}  // namespace

std::string to_string(const Schedule& schedule) {
  std::string text = fmt::format("{}, rank {} of {}, slices per message: {}\n",
                                 schedule.name(), schedule.rank(),
                                 schedule.ranks(), schedule.slices());
  for (std::size_t i = 0; i < schedule.size(); ++i) {
    const Exchange exchange = schedule[i];
    std::vector<std::string> parts;
    if (exchange.send.range.count > 0) {
      parts.push_back(describe("send", "to", exchange.send));
    }
    if (exchange.receive.range.count > 0) {
      parts.push_back(
          describe(verb_of(exchange.arrival), "from", exchange.receive));
    }
    text += fmt::format(
        "step {} {} slice {}: {}\n", exchange.step, name_of(exchange.phase),
        exchange.slice,
        parts.empty() ? "nothing" : fmt::format("{}", fmt::join(parts, ", ")));
  }
  return text;
}

const std::vector<std::string>& schedule_names() {
  static const std::vector<std::string> names{"ring", "naive", "tree",
                                              "recursive_doubling", "ordered"};
  return names;
}

std::unique_ptr<Schedule> make_schedule(const std::string& name, int rank,
                                        int ranks, std::size_t count,
                                        std::size_t slice) {
  if (name == "ring") {
    return std::make_unique<RingSchedule>(rank, ranks, count, slice);
  }
  if (name == "naive") {
    return std::make_unique<NaiveSchedule>(rank, ranks, count, slice);
  }
  if (name == "tree") {
    return std::make_unique<TreeSchedule>(rank, ranks, count, slice);
  }
  if (name == "recursive_doubling") {
    return std::make_unique<RecursiveDoublingSchedule>(rank, ranks, count,
                                                       slice);
  }
  if (name == "ordered") {
    return std::make_unique<OrderedSchedule>(rank, ranks, count, slice);
  }
  throw Error(fmt::format("no schedule '{}', expected one of {}", name,
                          fmt::join(schedule_names(), ", ")));
}

}  // namespace ringlet
