#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include "collectives/clock.h"
#include "collectives/communicator.h"
#include "collectives/schedule.h"

namespace ringlet {

// What a rank that trains is at, one after the other (activity.h); and from
// kCall on what its communicator does, beside that. The order is that of the
// lanes in a picture.
enum class EventKind {
  kData,
  kForward,
  kBackward,
  kCommunication,
  kOptimizer,
  kDevice,
  kEvaluation,
  kCheckpoint,
  kCall,
  kSend,
  kReceive,
  kReduce
};
inline constexpr std::size_t kEventKinds = 12;

// "data", "forward", ..., "call", "send", "receive", "reduce".
const char* name_of(EventKind kind);

inline bool is_activity(EventKind kind) { return kind < EventKind::kCall; }

// Where no training step goes on; also where no bucket, or no peer, is meant.
inline constexpr int kNone = -1;

// One thing that a rank did. Times are the rank's Transport::now(): `begin` is
// when it started a message, `end` is when it knew that it was done, which may
// be later than it was. An activity has no more than its rank, training step,
// pass (over a part of the rank's batch) in `step`, and bucket: that whose
// gradients it completed. Plain data: ranks send events to each other as bytes.
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
// told of steps, while no work is in flight; activities are the caller's, and
// go on beside the communicator's thread.
class Recorder {
 public:
  explicit Recorder(const RecorderOptions& options = {});

  // What follows belongs to this step of training, or to none.
  void set_training_step(std::int64_t step) { training_step_ = step; }
  std::int64_t training_step() const { return training_step_; }

  // The events of each thread in the order of their ends.
  std::span<const Event> events() const {
    return {events_.data(), std::min(count_.load(), events_.size())};
  }
  std::uint64_t dropped() const { return count_ - events().size(); }
  const std::vector<ClockReading>& clock() const { return clock_; }
  void clear() { count_ = 0; }

  // How many steps from this one on may be done without telling one from the
  // other: those before the first that is recorded; each of these is for
  // itself.
  std::size_t steps_at_once(std::int64_t step) const;

  // What the caller is at, from now on; see Activity, which calls them.
  void begin_activity(EventKind kind, int rank, std::int64_t step,
                      std::size_t pass);
  void end_activity();
  // Where that is kBackward: the gradients of a bucket are complete. What
  // follows is an event of its own.
  void complete_bucket(int bucket);

  // For the communicator:
  bool active() const { return !paused_ && records(training_step_); }
  void pause(bool paused) { paused_ = paused; }
  std::uint64_t next_call() { return calls_++; }
  void add(const Event& event) {
    const std::size_t place = count_++;
    if (place < events_.size()) events_[place] = event;
  }
  void add(const ClockReading& reading) { clock_.push_back(reading); }

 private:
  bool records(std::int64_t step) const {
    return options_.first_step <= step && step <= options_.last_step;
  }
  void add_activity(int bucket);

  RecorderOptions options_;
  std::vector<Event> events_;
  std::atomic<std::size_t> count_ = 0;  // with those there was no room for
  std::optional<Event> activity_;       // that goes on
  std::uint64_t calls_ = 0;
  std::int64_t training_step_ = kNone;
  bool paused_ = false;
  std::vector<ClockReading> clock_;  // in the order in which they were taken
};

}  // namespace ringlet
