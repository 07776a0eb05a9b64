#include "collectives/guard/call_log.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <fstream>
#include <new>

#include "kernels/runtime/error.h"

namespace ringlet {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;
constexpr std::uint64_t kMagic = 0x31534c4c41434752;  // "RGCALLS1"

using Word = std::atomic<std::uint64_t>;
using Time = std::atomic<std::int64_t>;

// A text of at most Bytes-1, written once.
template <std::size_t Bytes>
void copy_text(std::array<char, Bytes>& to, const std::string& from) {
  to.back() = '\0';
  std::strncpy(to.data(), from.c_str(), Bytes - 1);
}

template <std::size_t Bytes>
std::string text_of(const std::array<char, Bytes>& from) {
  return {from.data(), strnlen(from.data(), Bytes)};
}

template <typename Clock>
std::int64_t nanoseconds() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             Clock::now().time_since_epoch())
      .count();
}

}  // namespace

std::int64_t host_now() { return nanoseconds<std::chrono::steady_clock>(); }

namespace {

std::int64_t wall_clock() {
  return nanoseconds<std::chrono::system_clock>() - host_now();
}

}  // namespace

// Atomics cost nothing here, and let others read what is being written.
struct alignas(64) CallLog::Entry {
  Word count, root, tag;
  std::atomic<std::uint8_t> kind, dtype, op, overlapped;
  Time training_step, begin, end;
};

struct CallLog::Memory {
  Word magic;  // the first word, written last
  std::int32_t rank, size;
  std::int64_t process;
  std::uint64_t process_start;
  Time wall_clock;
  std::array<char, 64> host;
  std::array<char, 128> versions;
  alignas(64) Word begun;  // calls
  Word agreed;
  Time training_step;
  std::atomic<bool> failed, ended, ending, told;
  alignas(64) Time heartbeat;
  std::atomic<std::int32_t> waiting_for;
  Time seen;
  std::atomic<ProcessState> process_then;
};  // the entries follow

CallLog::CallLog(std::byte* memory, std::size_t calls)
    : memory_(std::launder(reinterpret_cast<Memory*>(memory))),
      capacity_(calls) {
  static_assert(sizeof(Memory) == kHeaderBytes && sizeof(Entry) == kCallBytes);
  static_assert(Word::is_always_lock_free);
}

CallLog CallLog::read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const Buffer bytes = Buffer::allocate(kBytes);
  file.read(reinterpret_cast<char*>(bytes.data()), kBytes);
  if (file.gcount() != kBytes ||
      file.peek() != std::ifstream::traits_type::eof()) {
    throw Error(fmt::format(
        "{}: expected a rank's last calls, a file of {} bytes", path, kBytes));
  }
  CallLog log(bytes.data());
  log.own_ = bytes;
  const Memory& memory = *log.memory_;
  if (!log.started() || memory.size < 1 || memory.rank < 0 ||
      memory.rank >= memory.size) {
    throw Error(fmt::format("{}: is no record of a rank's calls", path));
  }
  return log;
}

void CallLog::start(int rank, int size, const std::string& versions) {
  std::array<char, 64> host{};
  gethostname(host.data(), host.size() - 1);
  memory_->rank = rank;
  memory_->size = size;
  memory_->process = getpid();
  memory_->process_start = start_of_process(getpid());
  memory_->wall_clock = wall_clock();
  memory_->host = host;
  copy_text(memory_->versions, versions);
  memory_->training_step = -1;
  memory_->waiting_for = -1;
  memory_->heartbeat = host_now();
  memory_->magic.store(kMagic, std::memory_order_release);
}

CallLog::Entry& CallLog::entry_of(std::uint64_t number) const {
  return std::launder(
      reinterpret_cast<Entry*>(memory_ + 1))[number % capacity_];
}

void CallLog::begin(const Collective& call) {
  const std::uint64_t number = memory_->begun.load(kRelaxed) + 1;
  Entry& entry = entry_of(number);
  entry.count.store(call.count, kRelaxed);
  entry.root.store(static_cast<std::uint64_t>(call.root), kRelaxed);
  entry.tag.store(static_cast<std::uint64_t>(call.tag), kRelaxed);
  entry.kind.store(static_cast<std::uint8_t>(call.kind), kRelaxed);
  entry.dtype.store(static_cast<std::uint8_t>(call.dtype), kRelaxed);
  entry.op.store(static_cast<std::uint8_t>(call.op), kRelaxed);
  entry.overlapped.store(call.overlapped, kRelaxed);
  entry.training_step.store(memory_->training_step.load(kRelaxed), kRelaxed);
  entry.begin.store(host_now(), kRelaxed);
  entry.end.store(0, kRelaxed);
  memory_->begun.store(number, std::memory_order_release);
}

void CallLog::agree() {
  memory_->agreed.store(memory_->begun.load(kRelaxed), kRelaxed);
}

void CallLog::end() {
  entry_of(memory_->begun.load(kRelaxed))
      .end.store(host_now(), std::memory_order_release);
}

void CallLog::fail() { memory_->failed = true; }
void CallLog::finish() { memory_->ended = true; }
void CallLog::mark_ending() { memory_->ending = true; }
void CallLog::mark_told() { memory_->told = true; }

void CallLog::set_training_step(std::int64_t step) {
  memory_->training_step.store(step, kRelaxed);
}

void CallLog::beat(int waiting_for) {
  memory_->waiting_for.store(waiting_for, kRelaxed);
  memory_->heartbeat.store(host_now(), std::memory_order_release);
}

void CallLog::move_to(std::byte* memory) {
  const auto* from = reinterpret_cast<const std::byte*>(memory_);
  std::memcpy(memory + sizeof(Word), from + sizeof(Word),
              kHeaderBytes + capacity_ * kCallBytes - sizeof(Word));
  memory_ = CallLog(memory).memory_;
  memory_->magic.store(kMagic, std::memory_order_release);
}

void CallLog::take(const CallLog& other, std::int64_t later, std::int64_t seen,
                   ProcessState process) {
  const Memory& from = *other.memory_;
  if (!started()) {
    memory_->rank = from.rank;
    memory_->size = from.size;
    memory_->process = from.process;
    memory_->process_start = from.process_start;
    memory_->host = from.host;
    memory_->versions = from.versions;
  }
  const auto copy = [](auto& to, const auto& value) {
    to.store(value.load(kRelaxed), kRelaxed);
  };
  const auto copy_time = [&](Time& to, const Time& time) {
    const std::int64_t value = time.load(kRelaxed);
    to.store(value == 0 ? 0 : value + later, kRelaxed);
  };
  const std::uint64_t begun = from.begun.load(std::memory_order_acquire);
  const std::uint64_t most = std::min(capacity_, other.capacity_);
  for (std::uint64_t n = begun > most ? begun - most : 0; n < begun; ++n) {
    const Entry& entry = other.entry_of(n + 1);
    Entry& own = entry_of(n + 1);
    copy(own.count, entry.count);
    copy(own.root, entry.root);
    copy(own.tag, entry.tag);
    copy(own.kind, entry.kind);
    copy(own.dtype, entry.dtype);
    copy(own.op, entry.op);
    copy(own.overlapped, entry.overlapped);
    copy(own.training_step, entry.training_step);
    copy_time(own.begin, entry.begin);
    copy_time(own.end, entry.end);
  }
  copy(memory_->agreed, from.agreed);
  copy(memory_->training_step, from.training_step);
  copy(memory_->failed, from.failed);
  copy(memory_->ended, from.ended);
  copy(memory_->ending, from.ending);
  copy(memory_->told, from.told);
  copy(memory_->waiting_for, from.waiting_for);
  copy_time(memory_->heartbeat, from.heartbeat);
  memory_->wall_clock.store(wall_clock(), kRelaxed);
  memory_->process_then.store(process, kRelaxed);
  memory_->begun.store(begun, std::memory_order_release);
  memory_->seen.store(seen, std::memory_order_release);
  memory_->magic.store(kMagic, std::memory_order_release);
}

bool CallLog::started() const {
  return memory_->magic.load(std::memory_order_acquire) == kMagic;
}

CallRecord CallLog::record_of(std::uint64_t number, const Entry& entry) {
  return {.number = number,
          .call = {.kind = static_cast<CollectiveKind>(entry.kind.load()),
                   .count = entry.count.load(),
                   .dtype = static_cast<Dtype>(entry.dtype.load()),
                   .op = static_cast<ReduceOp>(entry.op.load()),
                   .root = static_cast<int>(entry.root.load()),
                   .tag = static_cast<int>(entry.tag.load()),
                   .overlapped = entry.overlapped.load() != 0},
          .training_step = entry.training_step,
          .begin = entry.begin,
          .end = entry.end};
}

RankRecord CallLog::rank() const {
  RankRecord record{.rank = memory_->rank,
                    .size = memory_->size,
                    .host = text_of(memory_->host),
                    .process = memory_->process,
                    .process_start = memory_->process_start,
                    .versions = text_of(memory_->versions),
                    .wall_clock = memory_->wall_clock,
                    .last = {},
                    .agreed = memory_->agreed,
                    .failed = memory_->failed,
                    .ended = memory_->ended,
                    .ending = memory_->ending,
                    .told = memory_->told,
                    .heartbeat = memory_->heartbeat,
                    .waiting_for = memory_->waiting_for,
                    .training_step = memory_->training_step,
                    .seen = memory_->seen.load(std::memory_order_acquire),
                    .process_then = memory_->process_then};
  const std::uint64_t begun = memory_->begun.load(std::memory_order_acquire);
  if (begun > 0) record.last = record_of(begun, entry_of(begun));
  return record;
}

std::vector<CallRecord> CallLog::calls() const {
  std::vector<CallRecord> records;
  const std::uint64_t begun = memory_->begun.load(std::memory_order_acquire);
  const std::uint64_t most =
      capacity_ - 1;  // the next one may be in the making
  for (std::uint64_t n = begun > most ? begun - most : 0; n < begun; ++n) {
    records.push_back(record_of(n + 1, entry_of(n + 1)));
  }
  return records;
}

}  // namespace ringlet
