#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <vector>

#include "support/cudacpu/block.h"
#include "support/cudacpu/fiber.h"
#include "support/cudacpu/sanitizers.h"

// What runs a grid, for the emulator's own sources alone: they are compiled
// without ThreadSanitizer.
namespace cudacpu {

constexpr int kMaxThreads = 1024;  // of a block
constexpr int kLanes = 32;
constexpr int kWarps = kMaxThreads / kLanes;
constexpr int kMaxSharedArrays = 64;
// For ThreadSanitizer, blocks take turns with so many sets of fibers and of
// ordering variables: with one for all of them the blocks would be ordered, and
// races between them hidden. It has 8128 threads, a set of fibers up to 1024.
constexpr int kFiberSets = tsan::kOn ? 7 : 1;
constexpr int kOrderings = 1024;

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

// "__shfl_sync", ...
const char* name_of(WarpOp op);

}  // namespace cudacpu
