#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "collectives/communicator.h"
#include "collectives/guard/process_state.h"
#include "kernels/runtime/buffer.h"

namespace ringlet {

// Nanoseconds on the clock that all processes of a host share.
std::int64_t host_now();

// One call that a rank has made.
struct CallRecord {
  std::uint64_t number = 0;  // among its communicator's, from 1; 0: none
  Collective call{};         // but for its arrays
  std::int64_t training_step = -1;
  std::int64_t begin = 0, end = 0;  // host_now(); end is 0 while it goes on
};

// What a rank is, and how far it has come.
struct RankRecord {
  int rank = 0, size = 0;
  std::string host;
  std::int64_t process = 0;
  std::uint64_t process_start = 0;  // process_state.h
  std::string versions;
  std::int64_t wall_clock = 0;  // ns since 1970, less host_now()

  CallRecord last;             // the newest call; number 0 before the first
  std::uint64_t agreed = 0;    // the newest that all ranks have come to, surely
  bool failed = false;         // its last call has thrown
  bool ended = false;          // in good order
  bool ending = false;         // after an error, or by its watchdog
  bool told = false;           // why the job ends
  std::int64_t heartbeat = 0;  // when its watchdog last looked
  int waiting_for = -1;        // which rank, then; -1: none, or not known
  std::int64_t training_step = -1;
  std::int64_t seen = 0;  // when another host saw it so; 0: it is of this host
  ProcessState process_then = ProcessState::kRuns;  // what that host saw

  bool in_call() const { return last.number > 0 && last.end == 0 && !failed; }
};

// A rank's last calls, in memory that may be a file and that the other ranks of
// its host read: who looks for a rank that is missing, or after its death,
// finds here where it was. Written by its rank alone, read by anybody at any
// time; what is just being overwritten, the oldest call, is left out. A call
// costs two readings of the clock and a cache line.
class CallLog {
 public:
  static constexpr std::size_t kCalls = 256;
  static constexpr std::size_t kHeaderBytes = 384, kCallBytes = 64;
  static constexpr std::size_t kBytes = kHeaderBytes + kCalls * kCallBytes;

  // Over `memory`, kHeaderBytes and kCallBytes for each call, that were zeros
  // before start() or take().
  explicit CallLog(std::byte* memory, std::size_t calls = kCalls);
  // A file that a rank has left. Throws Error where it is none.
  static CallLog read(const std::string& path);

  // For its rank:
  void start(int rank, int size, const std::string& versions);
  void begin(const Collective& call);
  void agree();  // all ranks have come to it
  void end();
  void fail();
  void finish();
  void mark_ending();
  void mark_told();
  void set_training_step(std::int64_t step);
  void beat(int waiting_for);
  // Goes on in other memory.
  void move_to(std::byte* memory);

  // For who keeps a copy, with fewer calls: takes what `other` says, its times
  // as `later` ones on this host's clock, and what is known of the process at
  // the time `seen`. Who reads meanwhile may get some of both.
  void take(const CallLog& other, std::int64_t later, std::int64_t seen,
            ProcessState process);

  // For anybody; nothing where its rank has not started it.
  bool started() const;
  RankRecord rank() const;
  std::vector<CallRecord> calls() const;  // oldest first

 private:
  struct Memory;
  struct Entry;

  static CallRecord record_of(std::uint64_t number, const Entry& entry);
  Entry& entry_of(std::uint64_t number) const;

  Memory* memory_;
  std::size_t capacity_;
  Buffer own_;  // of a log that was read
};

}  // namespace ringlet
