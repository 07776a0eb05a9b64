#include "collectives/run_schedule.h"

#include <deque>

namespace ringlet {
namespace {

Place place_of(const Exchange& exchange, const Message& message) {
  return {exchange.phase, exchange.step, message.chunk, exchange.slice};
}

}  // namespace

// Exchange i of the schedule is *started* (its receive is posted and its send
// is on its way), and *finished* some exchanges later (both are done, and what
// came in is added). In between, the next ones are already on the wire. Where
// two may be under way:
//
//                   started  | 0  1 |  2  |  3  |  4  |
//                   finished |      |  0  |  1  |  2  |   ... time
//
// Why this order is safe, with S slices per message:
// - What an exchange sends was brought by earlier ones of the same slice. The
//   last of those is S or more before it in the list, so it is finished, and
//   its data are added, when this one starts: at most S are under way.
// - What arrives to be added lands in slot i % window of the scratch. When it
//   starts, exchange i - window is finished, and so is the slot's last user.
// - What arrives to replace lands in place. Who sent from there did so in an
//   exchange of the same slice, which is finished.
// - Nobody waits for ever: in all ranks' lists, (step, slice) only grows. Of
//   all ranks' unfinished exchanges take one with the least (step, slice). Its
//   partners have finished all that comes before it, so they have started
//   theirs, and the messages meet.
void run_schedule(const Schedule& schedule, Journal& journal, void* data,
                  Dtype dtype, ReduceOp op, const Scratch& scratch) {
  const std::size_t width = size_of(dtype);
  struct InFlight {
    Journal::Message receive, send;
  };
  std::deque<InFlight> in_flight;  // oldest first
  const auto at = [&](Range range) {
    return static_cast<std::byte*>(data) + range.begin * width;
  };
  const auto slot = [&](std::size_t i) {
    return scratch.memory.data() + i % scratch.window * scratch.slice_bytes;
  };

  const auto start = [&](std::size_t i, const Exchange& exchange) {
    const Message& send = exchange.send;
    const Message& receive = exchange.receive;
    InFlight& messages = in_flight.emplace_back();
    if (receive.range.count > 0) {
      const bool replaces = exchange.arrival == Arrival::kReplaces;
      messages.receive = journal.receive(
          place_of(exchange, receive), receive.peer,
          replaces ? at(receive.range) : slot(i), receive.range.count * width);
    }
    if (send.range.count > 0) {
      messages.send = journal.send(place_of(exchange, send), send.peer,
                                   at(send.range), send.range.count * width);
    }
  };

  const auto combine = [&](std::size_t i, Range range, Arrival arrival) {
    const Device device = scratch.device();
    if (arrival == Arrival::kSecondOperand) {
      reduce(device, at(range), slot(i), range.count, dtype, op);
    } else {
      reduce(device, slot(i), at(range), range.count, dtype, op);
      copy_memory(at(range), device, slot(i), device, range.count * width);
    }
  };

  const auto finish = [&](std::size_t i) {
    const Exchange exchange = schedule[i];
    const Message& receive = exchange.receive;
    InFlight messages = std::move(in_flight.front());
    in_flight.pop_front();
    // Where the same elements go out and come in, they must be gone first.
    const bool same = exchange.send.range == receive.range;
    if (messages.send && same) journal.wait(messages.send);
    if (messages.receive) journal.wait(messages.receive);
    if (messages.receive && exchange.arrival != Arrival::kReplaces) {
      journal.reduce(place_of(exchange, receive), receive.peer,
                     receive.range.count * width,
                     [&] { combine(i, receive.range, exchange.arrival); });
    }
    if (messages.send && !same) journal.wait(messages.send);
  };

  std::size_t finished = 0;
  for (std::size_t i = 0; i < schedule.size(); ++i) {
    const Exchange exchange = schedule[i];
    const std::size_t most = most_in_flight(schedule, exchange, scratch.window);
    while (i - finished >= most) finish(finished++);
    start(i, exchange);
  }
  while (finished < schedule.size()) finish(finished++);
}

}  // namespace ringlet
