#include "collectives/journal.h"

namespace ringlet {

Journal::Journal(Transport& transport, std::shared_ptr<Recorder> recorder,
                 std::shared_ptr<Ledger> ledger)
    : transport_(transport),
      recorder_(std::move(recorder)),
      ledger_(std::move(ledger)) {}

void Journal::begin_call(const Collective& call) {
  if (!recorder_) return;
  const std::uint64_t number = recorder_->next_call();
  recording_ = recorder_->active();
  if (!recording_) return;
  call_ = {.kind = EventKind::kCall,
           .collective = call.kind,
           .phase = {},
           .rank = transport_.rank(),
           .peer = kNone,
           .bucket = call.tag,
           .training_step = recorder_->training_step(),
           .call = number,
           .step = 0,
           .chunk = 0,
           .slice = 0,
           .bytes = call.count * size_of(call.dtype),
           .begin = transport_.now(),
           .end = 0};
}

Event Journal::begin(EventKind kind, const Place& place, int peer,
                     std::size_t bytes) const {
  if (!recording_) return {};
  Event event = call_;
  event.kind = kind;
  event.phase = place.phase;
  event.peer = peer;
  event.step = place.step;
  event.chunk = place.chunk;
  event.slice = place.slice;
  event.bytes = bytes;
  event.begin = transport_.now();
  return event;
}

void Journal::end(Event& event) {
  if (!recording_) return;
  event.end = transport_.now();
  recorder_->add(event);
}

Journal::Message Journal::send(const Place& place, int peer, const void* data,
                               std::size_t bytes) {
  ledger_->count_sent(place.phase, bytes);
  const Event event = begin(EventKind::kSend, place, peer, bytes);
  return {transport_.isend(peer, data, bytes), event};
}

Journal::Message Journal::receive(const Place& place, int peer, void* data,
                                  std::size_t bytes) {
  ledger_->count_received(place.phase, bytes);
  const Event event = begin(EventKind::kReceive, place, peer, bytes);
  return {transport_.irecv(peer, data, bytes), event};
}

void Journal::wait(Message& message) {
  transport_.wait(*message.request_);
  end(message.event_);
}

}  // namespace ringlet
