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

#include "collectives/guard/process_state.h"
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
  std::int64_t wall_clock;
  std::array<char, 64> host;
  std::array<char, 128> versions;
  alignas(64) Word begun;  // calls
  Time training_step;
  std::atomic<bool> failed, ended, ending, told;
  alignas(64) Time heartbeat;
  std::atomic<std::int32_t> waiting_for;
  alignas(64) std::array<Entry, kCalls> entries;
};

CallLog::CallLog(std::byte* memory)
    : memory_(std::launder(reinterpret_cast<Memory*>(memory))) {
  static_assert(sizeof(Memory) <= kBytes && sizeof(Entry) == 64);
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
  memory_->wall_clock = nanoseconds<std::chrono::system_clock>() - host_now();
  memory_->host = host;
  copy_text(memory_->versions, versions);
  memory_->training_step = -1;
  memory_->waiting_for = -1;
  memory_->heartbeat = host_now();
  memory_->magic.store(kMagic, std::memory_order_release);
}

CallLog::Entry& CallLog::entry_of(std::uint64_t number) const {
  return memory_->entries[number % kCalls];
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
              sizeof(Memory) - sizeof(Word));
  *this = CallLog(memory);
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
                    .failed = memory_->failed,
                    .ended = memory_->ended,
                    .ending = memory_->ending,
                    .told = memory_->told,
                    .heartbeat = memory_->heartbeat,
                    .waiting_for = memory_->waiting_for,
                    .training_step = memory_->training_step};
  const std::uint64_t begun = memory_->begun.load(std::memory_order_acquire);
  if (begun > 0) record.last = record_of(begun, entry_of(begun));
  return record;
}

std::vector<CallRecord> CallLog::calls() const {
  std::vector<CallRecord> records;
  const std::uint64_t begun = memory_->begun.load(std::memory_order_acquire);
  const std::uint64_t most = kCalls - 1;  // the next one may be in the making
  for (std::uint64_t n = begun > most ? begun - most : 0; n < begun; ++n) {
    records.push_back(record_of(n + 1, entry_of(n + 1)));
  }
  return records;
}

}  // namespace ringlet
