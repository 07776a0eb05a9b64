#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "collectives/clock.h"
#include "collectives/communicator.h"
#include "collectives/schedule.h"

namespace ringlet {

enum class EventKind { kSend, kReceive, kReduce, kCall };

// "send", "receive", "reduce", "call".
const char* name_of(EventKind kind);

// Where no training step goes on; also where no bucket, or no peer, is meant.
inline constexpr int kNone = -1;

// One thing that a rank did. Times are the rank's Transport::now(): `begin` is
// when it started a message, `end` is when it knew that it was done, which may
// be later than it was. Plain data: ranks send events to each other as bytes.
struct Event {
  EventKind kind;
  CollectiveKind collective;  // what it is, or what it is part of
  Phase phase;                // of a call: nothing, as the next three
  int rank;
  int peer;    // whose data, or whose they will be; kNone of a call, and of a
               // sum of all ranks' data at once
  int bucket;  // Collective::tag
  std::int64_t training_step;
  std::uint64_t call;  // counts those of the job that are ours: 0, 1, ...
  std::size_t step, chunk, slice;
  // That travelled or were combined; of a call: of its `count` elements.
  std::size_t bytes;
  std::int64_t begin, end;  // ns
};

struct RecorderOptions {
  // Events there is room for, 88 bytes each, allocated at once: by default as
  // many as some 1000 steps of 94 MB of gradients on two ranks take.
  std::size_t capacity = 1 << 18;
  // Only calls made in training steps from the first to the last of these.
  std::int64_t first_step = kNone;
  std::int64_t last_step = std::numeric_limits<std::int64_t>::max();
};

// What one rank did, event by event: each rank gives one of its own to its
// communicator, or none does (CommunicatorOptions::recorder). Holds whole calls
// only, unless it is full: then it counts what it drops. It is looked at, and
// told of steps, while no work is in flight.
class Recorder {
 public:
  explicit Recorder(const RecorderOptions& options = {});

  // What follows belongs to this step of training, or to none.
  void set_training_step(std::int64_t step) { training_step_ = step; }
  std::int64_t training_step() const { return training_step_; }

  // The events in the order of their ends.
  std::span<const Event> events() const { return {events_.data(), count_}; }
  std::uint64_t dropped() const { return dropped_; }
  const std::vector<ClockReading>& clock() const { return clock_; }
  void clear() { count_ = dropped_ = 0; }

  // For the communicator:
  bool active() const {
    return !paused_ && options_.first_step <= training_step_ &&
           training_step_ <= options_.last_step;
  }
  void pause(bool paused) { paused_ = paused; }
  std::uint64_t next_call() { return calls_++; }
  void add(const Event& event) {
    if (count_ == events_.size()) {
      ++dropped_;
    } else {
      events_[count_++] = event;
    }
  }
  void add(const ClockReading& reading) { clock_.push_back(reading); }

 private:
  RecorderOptions options_;
  std::vector<Event> events_;
  std::size_t count_ = 0;
  std::uint64_t dropped_ = 0;
  std::uint64_t calls_ = 0;
  std::int64_t training_step_ = kNone;
  bool paused_ = false;
  std::vector<ClockReading> clock_;  // in the order in which they were taken
};

}  // namespace ringlet
