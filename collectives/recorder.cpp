#include "collectives/recorder.h"

#include <chrono>

namespace ringlet {
namespace {

// As Transport::now(), where its clock is not a test's.
std::int64_t now() {
  return std::chrono::steady_clock::now().time_since_epoch() /
         std::chrono::nanoseconds(1);
}

}  // namespace

const char* name_of(EventKind kind) {
  constexpr const char* kNames[kEventKinds] = {
      "data",      "forward", "backward",   "communication",
      "optimizer", "device",  "evaluation", "checkpoint",
      "call",      "send",    "receive",    "reduce"};
  return kNames[static_cast<std::size_t>(kind)];
}

// Filled with zeros, so that recording meets no page for the first time.
Recorder::Recorder(const RecorderOptions& options)
    : options_(options), events_(options.capacity) {}

std::size_t Recorder::steps_at_once(std::int64_t step) const {
  if (step > options_.last_step) return std::numeric_limits<std::size_t>::max();
  const std::int64_t before = options_.first_step - step;
  return before > 0 ? static_cast<std::size_t>(before) : 1;
}

void Recorder::begin_activity(EventKind kind, int rank, std::int64_t step,
                              std::size_t pass) {
  if (!records(step)) return;
  activity_ = Event{.kind = kind,
                    .collective = {},
                    .phase = {},
                    .rank = rank,
                    .peer = kNone,
                    .bucket = kNone,
                    .training_step = step,
                    .call = 0,
                    .step = pass,
                    .chunk = 0,
                    .slice = 0,
                    .bytes = 0,
                    .begin = now(),
                    .end = 0};
}

void Recorder::end_activity() {
  if (!activity_) return;
  add_activity(kNone);
  activity_.reset();
}

void Recorder::complete_bucket(int bucket) {
  if (!activity_ || activity_->kind != EventKind::kBackward) return;
  add_activity(bucket);
  activity_->begin = now();
}

void Recorder::add_activity(int bucket) {
  Event event = *activity_;
  event.bucket = bucket;
  event.end = now();
  add(event);
}

}  // namespace ringlet
