#include "collectives/rank_trace.h"

#include <type_traits>
#include <utility>

#include "kernels/runtime/check.h"

namespace ringlet {
namespace {

template <typename Value>
void broadcast(Communicator& communicator, Value& value, int root) {
  static_assert(std::is_trivially_copyable_v<Value>);
  communicator.broadcast(&value, sizeof value, root);
}

template <typename Value>
void broadcast(Communicator& communicator, std::vector<Value>& values,
               int root) {
  static_assert(std::is_trivially_copyable_v<Value>);
  std::uint64_t count = values.size();
  broadcast(communicator, count, root);
  values.resize(count);
  communicator.broadcast(values.data(), count * sizeof(Value), root);
}

}  // namespace

std::vector<RankTrace> gather_traces(Communicator& communicator) {
  Recorder* recorder = communicator.recorder();
  RINGLET_CHECK(recorder != nullptr, "'{}' has no recorder",
                communicator.name());
  if (const auto reading = communicator.measure_clock()) {
    recorder->add(*reading);
  }
  RankTrace mine{{recorder->events().begin(), recorder->events().end()},
                 recorder->dropped(),
                 recorder->clock(),
                 *communicator.ledger()};
  recorder->pause(true);
  std::vector<RankTrace> traces;
  // A broadcast where a message to rank 0 would do: there is no such operation,
  // and this is no time to hurry.
  for (int root = 0; root < communicator.size(); ++root) {
    RankTrace trace;
    if (root == communicator.rank()) trace = std::move(mine);
    broadcast(communicator, trace.events, root);
    broadcast(communicator, trace.dropped, root);
    broadcast(communicator, trace.clock, root);
    broadcast(communicator, trace.ledger, root);
    if (communicator.rank() == 0) traces.push_back(std::move(trace));
  }
  recorder->pause(false);
  return traces;
}

}  // namespace ringlet
