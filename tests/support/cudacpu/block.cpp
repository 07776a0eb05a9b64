#include "support/cudacpu/block.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <stdexcept>
#include <vector>

#include "support/cudacpu/device_memory.h"
#include "support/cudacpu/machine.h"

namespace cudacpu {

thread_local constinit Coordinates g_here{};

namespace {

// What a launch has without cudaFuncSetAttribute.
constexpr std::size_t kMaxSharedBytes = 48 << 10;
constexpr unsigned kMaxGridYZ = 65535;

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

thread_local Machine* t_machine = nullptr;

// Ends a thread's machine with it. A launch that comes later still, by the end
// of another thread_local object, has a machine that is kept.
struct Owner {
  bool over = false;
  ~Owner() {
    over = true;
    delete t_machine;
    t_machine = nullptr;
  }
};

void keep(Machine* machine) {
  static std::mutex mutex;
  static auto* kept = new std::vector<Machine*>;  // not destroyed at the end
  const std::lock_guard lock(mutex);
  kept->push_back(machine);
}

Machine& machine() {
  thread_local Owner owner;
  if (t_machine == nullptr) {
    t_machine = new Machine;
    if (owner.over) keep(t_machine);
  }
  return *t_machine;
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

}  // namespace

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
