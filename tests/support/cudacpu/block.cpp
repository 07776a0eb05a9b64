#include "support/cudacpu/block.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <random>
#include <stdexcept>
#include <vector>

#include "support/cudacpu/device_memory.h"
#include "support/cudacpu/fiber.h"
#include "support/cudacpu/sanitizers.h"

namespace cudacpu {

thread_local constinit Coordinates g_here{};

namespace {

constexpr int kMaxThreads = 1024;  // of a block
constexpr int kLanes = 32;
constexpr int kWarps = kMaxThreads / kLanes;
constexpr int kMaxSharedArrays = 64;
// What a launch has without cudaFuncSetAttribute.
constexpr std::size_t kMaxSharedBytes = 48 << 10;
constexpr unsigned kMaxGridYZ = 65535;
// For ThreadSanitizer, blocks take turns with so many sets of fibers and of
// ordering variables: with one for all of them the blocks would be ordered, and
// races between them hidden. It has 8128 threads, a set of fibers up to 1024.
constexpr int kFiberSets = tsan::kOn ? 7 : 1;
constexpr int kOrderings = 1024;

struct Schedule {
  enum Order { kForward, kReverse, kRandom } order = kForward;
  std::uint64_t seed = 1;
  std::string text = "fwd";

  explicit Schedule(const std::string& name) : text(name) {
    if (name == "rev") {
      order = kReverse;
    } else if (name.starts_with("rnd:")) {
      order = kRandom;
      seed = std::strtoull(name.c_str() + 4, nullptr, 10);
    } else if (name != "fwd") {
      throw std::runtime_error("cudacpu: the order '" + name +
                               "': expected fwd, rev or rnd:SEED");
    }
  }

  // 0 ... count-1 in this order.
  std::vector<std::size_t> of(std::size_t count,
                              std::mt19937_64& random) const {
    std::vector<std::size_t> numbers(count);
    std::iota(numbers.begin(), numbers.end(), std::size_t{0});
    if (order == kReverse) std::reverse(numbers.begin(), numbers.end());
    if (order == kRandom) std::shuffle(numbers.begin(), numbers.end(), random);
    return numbers;
  }
};

Schedule& schedule() {
  static Schedule schedule([] {
    const char* name = std::getenv("CUDACPU_ORDER");
    return name == nullptr ? "fwd" : name;
  }());
  return schedule;
}

const char* name_of(WarpOp op) {
  constexpr const char* kNames[] = {
      "__syncwarp",      "__shfl_sync",   "__shfl_up_sync", "__shfl_down_sync",
      "__shfl_xor_sync", "__ballot_sync", "__any_sync",     "__all_sync"};
  return kNames[static_cast<int>(op)];
}

// One CUDA thread of the running block.
struct Thread {
  enum State { kRunning, kAtBarrier, kInWarpCall, kExited };
  State state = kRunning;
  LaneCall call{};  // or, at a barrier, its file and line
  std::uint64_t answer = 0;
  Fiber* fiber = nullptr;
};

struct SharedArray {
  const void* key;
  void* memory;
};

// In place of a vector, whose code may be shared with instrumented sources:
// ThreadSanitizer must not see what threads do to the machine.
template <typename T, int N>
struct List {
  T items[N];
  int count = 0;

  void push(T item) { items[count++] = item; }
  T pop() { return items[--count]; }
  T take(int at) {
    const T item = items[at];
    for (--count; at < count; ++at) items[at] = items[at + 1];
    return item;
  }
};

// What ThreadSanitizer must know to be ordered: the launch before all threads,
// they before its end; and in each block the barrier, each warp's
// __syncwarp and the making of shared arrays.
struct Orderings {
  char launch, end;
  char barrier[kOrderings], shared[kOrderings], warp[kOrderings][kWarps];
};

class Machine {
 public:
  void run(dim3 grid, dim3 block, std::size_t shared_bytes, void (*body)(void*),
           void* argument);
  void sync_block(const char* file, int line);
  std::uint64_t warp_call(const LaneCall& call);
  void* shared_array(const void* key, std::size_t bytes);
  void* dynamic_shared_array() {
    return shared_array(nullptr, dynamic_shared_bytes_);
  }

 private:
  [[noreturn]] static void fiber_main();
  void run_block(std::size_t number);
  void free_shared_arrays();
  void forget_fibers();

  // The scheduler's side.
  int next_to_run();
  void enter(int thread);
  void resume(int thread);
  void report_deadlock();

  // The threads' side.
  void run_threads();
  void wait(Thread::State state);
  void wake(int thread);
  void check_lanes(const LaneCall& call, unsigned lanes);
  void answer_lanes(const LaneCall& call);
  [[noreturn, gnu::format(printf, 2, 3)]] void fail(const char* format, ...);
  [[gnu::format(printf, 2, 3)]] void set_error(const char* format, ...);

  Thread& self() { return threads_[current_]; }
  Thread& lane(int index) {
    return threads_[current_ / kLanes * kLanes + index];
  }

  Fiber scheduler_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  List<Fiber*, kMaxThreads> idle_[kFiberSets];
  std::mt19937_64 random_;
  char error_[600] = {};

  void (*body_)(void*) = nullptr;
  void* argument_ = nullptr;
  std::size_t dynamic_shared_bytes_ = 0;

  // The block.
  int fiber_set_ = 0, ordering_ = 0;
  int thread_count_ = 0, current_ = 0, at_barrier_ = 0, exited_ = 0;
  Thread threads_[kMaxThreads];
  unsigned in_call_[kWarps], gone_[kWarps];  // lanes of each warp
  std::vector<std::size_t> to_start_;        // the last one is next
  List<int, kMaxThreads> ready_;             // in order of waking
  List<SharedArray, kMaxSharedArrays> shared_;
  std::vector<void*> retired_;
  Orderings orderings_{};
};

thread_local Machine* t_machine = nullptr;

Machine& machine() {
  thread_local const auto owner = std::make_unique<Machine>();
  t_machine = owner.get();
  return *owner;
}

void check_launch(dim3 grid, dim3 block, std::size_t shared_bytes) {
  const std::size_t threads = std::size_t{block.x} * block.y * block.z;
  const std::size_t blocks = std::size_t{grid.x} * grid.y * grid.z;
  if (threads == 0 || threads > kMaxThreads || blocks == 0 ||
      grid.y > kMaxGridYZ || grid.z > kMaxGridYZ ||
      shared_bytes > kMaxSharedBytes) {
    char text[200];
    std::snprintf(text, sizeof text,
                  "cudacpu: a launch of grid (%u, %u, %u), block (%u, %u, %u) "
                  "and %zu bytes of shared memory",
                  grid.x, grid.y, grid.z, block.x, block.y, block.z,
                  shared_bytes);
    throw std::runtime_error(text);
  }
}

void Machine::run(dim3 grid, dim3 block, std::size_t shared_bytes,
                  void (*body)(void*), void* argument) {
  check_launch(grid, block, shared_bytes);
  g_here.block_size = block;
  g_here.grid_size = grid;
  thread_count_ = static_cast<int>(block.x * block.y * block.z);
  dynamic_shared_bytes_ = shared_bytes;
  body_ = body;
  argument_ = argument;
  error_[0] = '\0';
  random_.seed(schedule().seed);
  tsan::release(orderings_.launch);
  const DeviceAccess access;
  const std::size_t blocks = std::size_t{grid.x} * grid.y * grid.z;
  for (const std::size_t number : schedule().of(blocks, random_)) {
    g_here.block_index.x = static_cast<unsigned>(number % grid.x);
    g_here.block_index.y = static_cast<unsigned>(number / grid.x % grid.y);
    g_here.block_index.z = static_cast<unsigned>(number / grid.x / grid.y);
    run_block(number);
    free_shared_arrays();
    if (error_[0] != '\0') break;
  }
  tsan::acquire(orderings_.end);
  if (error_[0] != '\0') {
    forget_fibers();
    throw std::runtime_error(std::string("cudacpu: ") + error_);
  }
}

void Machine::run_block(std::size_t number) {
  fiber_set_ = static_cast<int>(number % kFiberSets);
  ordering_ = static_cast<int>(number % kOrderings);
  for (int i = 0; i < thread_count_; ++i) threads_[i] = Thread{};
  for (int i = 0; i < kWarps; ++i) in_call_[i] = gone_[i] = 0;
  at_barrier_ = exited_ = ready_.count = 0;
  to_start_ = schedule().of(static_cast<std::size_t>(thread_count_), random_);
  std::reverse(to_start_.begin(), to_start_.end());
  while (exited_ < thread_count_ && error_[0] == '\0') {
    if (!to_start_.empty()) {
      const auto thread = static_cast<int>(to_start_.back());
      to_start_.pop_back();
      auto& idle = idle_[fiber_set_];
      if (idle.count == 0) {
        fibers_.push_back(std::make_unique<Fiber>(fiber_main));
        idle.push(fibers_.back().get());
      }
      threads_[thread].fiber = idle.pop();
      resume(thread);
    } else if (ready_.count > 0) {
      resume(next_to_run());
    } else {
      report_deadlock();
    }
  }
}

// One of those that wait for nothing any more.
int Machine::next_to_run() {
  switch (schedule().order) {
    case Schedule::kForward:
      return ready_.take(0);
    case Schedule::kReverse:
      return ready_.pop();
    case Schedule::kRandom:
      break;
  }
  const auto count = static_cast<std::uint64_t>(ready_.count);
  return ready_.take(static_cast<int>(random_() % count));
}

// From here on `thread` is the one that runs.
void Machine::enter(int thread) {
  current_ = thread;
  const auto index = static_cast<unsigned>(thread);
  const dim3 size = g_here.block_size;
  g_here.thread_index = {index % size.x, index / size.x % size.y,
                         index / size.x / size.y};
}

void Machine::resume(int thread) {
  enter(thread);
  scheduler_.switch_to(*threads_[thread].fiber);
}

void Machine::report_deadlock() {
  const Thread* waiting = threads_;
  while (waiting->state == Thread::kExited) ++waiting;
  enter(static_cast<int>(waiting - threads_));
  set_error(
      "deadlock: %d threads wait, %d have exited; the first waits in %s "
      "at %s:%d",
      thread_count_ - exited_, exited_,
      waiting->state == Thread::kAtBarrier ? "__syncthreads"
                                           : name_of(waiting->call.op),
      waiting->call.file, waiting->call.line);
}

void Machine::fiber_main() {
  Fiber::entered();
  for (;;) {
    Machine& machine = *t_machine;
    machine.run_threads();
    Fiber& mine = *machine.self().fiber;
    machine.idle_[machine.fiber_set_].push(&mine);
    mine.switch_to(machine.scheduler_);
  }
}

// Threads that never wait follow one another on this fiber as plain calls; to
// ThreadSanitizer each is to be a thread of its own.
void Machine::run_threads() {
  for (;;) {
    tsan::acquire(orderings_.launch);
    body_(argument_);
    tsan::release(orderings_.end);
    Thread& me = self();
    me.state = Thread::kExited;
    ++exited_;
    gone_[current_ / kLanes] |= 1u << current_ % kLanes;
    if (tsan::kOn || to_start_.empty()) return;
    const auto next = static_cast<int>(to_start_.back());
    to_start_.pop_back();
    threads_[next].fiber = me.fiber;
    enter(next);
  }
}

void Machine::wait(Thread::State state) {
  const int thread = current_;
  threads_[thread].state = state;
  threads_[thread].fiber->switch_to(scheduler_);
}

void Machine::wake(int thread) {
  threads_[thread].state = Thread::kRunning;
  if (thread != current_) ready_.push(thread);
}

void Machine::sync_block(const char* file, int line) {
  char& ordering = orderings_.barrier[ordering_];
  tsan::release(ordering);
  self().call.file = file;
  self().call.line = line;
  if (++at_barrier_ < thread_count_) {
    wait(Thread::kAtBarrier);
  } else {
    self().state = Thread::kAtBarrier;
    at_barrier_ = 0;
    for (int i = 0; i < thread_count_; ++i) {
      const LaneCall& other = threads_[i].call;
      if (other.line != line) {
        fail("divergent barrier: thread %d is at %s:%d, others at %s:%d", i,
             other.file, other.line, file, line);
      }
    }
    for (int i = 0; i < thread_count_; ++i) wake(i);
  }
  tsan::acquire(ordering);
}

// The last lane of the mask to arrive finds all lanes' answers. Only
// __syncwarp orders their memory accesses, as in CUDA's model.
std::uint64_t Machine::warp_call(const LaneCall& call) {
  const int warp = current_ / kLanes;
  char& ordering = orderings_.warp[ordering_][warp];
  if (call.op == WarpOp::kSync) tsan::release(ordering);
  const int thread = current_;
  const unsigned bit = 1u << thread % kLanes;
  const int size = std::min(thread_count_ - warp * kLanes, kLanes);
  const unsigned lanes = size == kLanes ? ~0u : (1u << size) - 1;
  self().call = call;
  if ((call.mask & bit) == 0) {
    fail("%s at %s:%d: the caller's lane is not in the mask", name_of(call.op),
         call.file, call.line);
  }
  check_lanes(call, lanes);
  in_call_[warp] |= bit;
  if ((in_call_[warp] & call.mask) != call.mask) {
    wait(Thread::kInWarpCall);
  } else {
    self().state = Thread::kInWarpCall;
    in_call_[warp] &= ~call.mask;
    answer_lanes(call);
  }
  if (call.op == WarpOp::kSync) tsan::acquire(ordering);
  return threads_[thread].answer;
}

void Machine::check_lanes(const LaneCall& call, unsigned lanes) {
  if ((call.mask & ~lanes) != 0) {
    fail("%s at %s:%d: the mask names a lane beyond the block",
         name_of(call.op), call.file, call.line);
  }
  if ((call.mask & gone_[current_ / kLanes]) != 0) {
    fail("%s at %s:%d: a lane of the mask has exited", name_of(call.op),
         call.file, call.line);
  }
}

// The lane whose value lane `index` gets by a shuffle.
int source_lane(const LaneCall& call, int index) {
  const int base = index & ~(call.width - 1), end = base + call.width;
  const int argument = call.argument;
  switch (call.op) {
    case WarpOp::kShuffle:
      return base + (argument & (call.width - 1));
    case WarpOp::kShuffleUp:
      return index - argument < base ? index : index - argument;
    case WarpOp::kShuffleDown:
      return index + argument >= end ? index : index + argument;
    case WarpOp::kShuffleXor:
      return (index ^ argument) >= end ? index : index ^ argument;
    default:
      return index;
  }
}

void Machine::answer_lanes(const LaneCall& call) {
  unsigned ballot = 0;
  for (int i = 0; i < kLanes; ++i) {
    if ((call.mask >> i & 1) == 0) continue;
    const LaneCall& other = lane(i).call;
    const bool same = lane(i).state == Thread::kInWarpCall &&
                      other.op == call.op && other.mask == call.mask &&
                      other.line == call.line;
    if (!same) {
      fail("divergent warp: lane %d is in %s at %s:%d, others in %s at %s:%d",
           i, name_of(other.op), other.file, other.line, name_of(call.op),
           call.file, call.line);
    }
    if (other.value != 0) ballot |= 1u << i;
  }
  for (int i = 0; i < kLanes; ++i) {
    if ((call.mask >> i & 1) == 0) continue;
    const int source = source_lane(lane(i).call, i);
    if ((call.mask >> source & 1) == 0) {
      fail("%s at %s:%d: lane %d reads lane %d, which is not in the mask",
           name_of(call.op), call.file, call.line, i, source);
    }
    switch (call.op) {
      case WarpOp::kBallot:
        lane(i).answer = ballot;
        break;
      case WarpOp::kAny:
        lane(i).answer = ballot != 0;
        break;
      case WarpOp::kAll:
        lane(i).answer = ballot == call.mask;
        break;
      default:
        lane(i).answer = lane(source).call.value;
    }
  }
  for (int i = 0; i < kLanes; ++i) {
    if ((call.mask >> i & 1) != 0) wake(current_ / kLanes * kLanes + i);
  }
}

// A piece of the heap for each block, so that AddressSanitizer fences it.
void* Machine::shared_array(const void* key, std::size_t bytes) {
  tsan::acquire(orderings_.shared[ordering_]);
  for (int i = 0; i < shared_.count; ++i) {
    if (shared_.items[i].key == key) return shared_.items[i].memory;
  }
  if (shared_.count == kMaxSharedArrays) fail("too many shared arrays");
  void* memory = std::malloc(bytes);
  constexpr int kBytesOfNan = 0xFF;
  std::memset(memory, kBytesOfNan, bytes);
  shared_.push({key, memory});
  tsan::release(orderings_.shared[ordering_]);
  return memory;
}

// To ThreadSanitizer, freeing them at once would be one block's write after
// another's, without an order: a GPU gives none.
void Machine::free_shared_arrays() {
  while (shared_.count > 0) {
    void* memory = shared_.pop().memory;
    tsan::kOn ? retired_.push_back(memory) : std::free(memory);
  }
}

// After an error, threads are left in the middle of the kernel.
void Machine::forget_fibers() {
  for (auto& idle : idle_) idle.count = 0;
  fibers_.clear();
}

void Machine::set_error(const char* format, ...) {
  std::va_list arguments;
  va_start(arguments, format);
  const int used = std::vsnprintf(error_, sizeof error_, format, arguments);
  va_end(arguments);
  const auto [tx, ty, tz] = g_here.thread_index;
  const auto [bx, by, bz] = g_here.block_index;
  std::snprintf(error_ + used, sizeof error_ - static_cast<std::size_t>(used),
                " [block (%u, %u, %u), thread (%u, %u, %u)]", bx, by, bz, tx,
                ty, tz);
}

// Ends the launch: the scheduler goes on, this thread never.
void Machine::fail(const char* format, ...) {
  std::va_list arguments;
  va_start(arguments, format);
  char text[500];
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  set_error("%s", text);
  tsan::release(orderings_.end);
  self().fiber->switch_to(scheduler_);
  std::abort();
}

}  // namespace

void set_order(const std::string& order) { schedule() = Schedule(order); }
std::string order() { return schedule().text; }

void run_grid(dim3 grid, dim3 block, std::size_t shared_bytes,
              void (*body)(void*), void* argument) {
  machine().run(grid, block, shared_bytes, body, argument);
}
void sync_block(const char* file, int line) {
  t_machine->sync_block(file, line);
}
std::uint64_t warp_call(const LaneCall& call) {
  return t_machine->warp_call(call);
}
void* shared_array(const void* key, std::size_t bytes) {
  return t_machine->shared_array(key, bytes);
}
void* dynamic_shared_array() { return t_machine->dynamic_shared_array(); }

}  // namespace cudacpu
