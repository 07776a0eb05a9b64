#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "collectives/clock.h"
#include "kernels/reduce.h"
#include "kernels/runtime/buffer.h"
#include "kernels/runtime/device.h"
#include "kernels/runtime/dtype.h"
#include "kernels/runtime/error.h"

namespace ringlet {

class HostMemory;
class Ledger;
class Recorder;

// A collective in flight. Copies refer to the same operation.
class Work {
 public:
  // What a back end implements. Any thread may call it.
  class State {
   public:
    virtual ~State() = default;
    virtual void wait() = 0;
    virtual bool done() const = 0;
  };

  Work() = default;  // a finished one
  explicit Work(std::shared_ptr<State> state) : state_(std::move(state)) {}

  // Returns when the result is there; throws what the operation threw.
  void wait() {
    if (state_) state_->wait();
  }
  bool done() const { return !state_ || state_->done(); }

 private:
  std::shared_ptr<State> state_;
};

enum class CollectiveKind {
  kAllReduce,
  kReduceScatter,
  kAllGather,
  kReduce,
  kBroadcast,
  kBarrier
};

// "all_reduce", ...
const char* name_of(CollectiveKind kind);

// The tag of the barrier that ends a communicator.
inline constexpr int kLastCall = -2;

// One call of a collective, the same on all ranks but for the addresses.
// `count` elements are what each rank gives or gets: of reduce_scatter's input
// and all_gather's output there are size() times as many.
struct Collective {
  CollectiveKind kind;
  const void* input = nullptr;
  void* output = nullptr;
  std::size_t count = 0;
  Dtype dtype = Dtype::kU8;
  ReduceOp op = ReduceOp::kSum;
  int root = 0;
  int tag = -1;             // the caller's word for it in a trace: which bucket
  bool overlapped = false;  // set by start: the caller goes on meanwhile
  Device device = Device::kCpu;  // where the arrays lie
  // What an all-reduce of f32 is rounded to on its way between ranks, kF16 or
  // kBF16. Sums are made in float. With kAvg the ranks' values are divided
  // first, so that f16 overflows later. `shared` and `solo` have no wire and
  // round nothing; `mpi` refuses. NCCL may round within a host too.
  Dtype wire = Dtype::kF32;
};

// "all_reduce of 1000 f32, sum, bucket 2".
std::string describe(const Collective& call);

// Ranks have come to different calls. Thrown on all of them, before any has
// touched the data; what() has every rank's call.
class MismatchError : public Error {
 public:
  using Error::Error;
};

// Moves bytes between the ranks of one job; knows no tensor and no gradient.
//
// Every rank calls the same operations in the same order with the same counts.
// A Communicator is used by one thread at a time. Data lie in host memory (for
// a GPU's see gpu_communicator.h); counts go from 0 to beyond 2^31 bytes. A
// world of one is no special case. Errors of the layers below are thrown as
// ringlet::Error; every later call then throws too. Of two communicators over
// MPI in one process, only one may have work in flight.
//
// Sums and the like: result[i] is element i of rank 0 op ... op that of the
// last rank, with the same bits on every rank that gets it; in which order they
// are combined is the algorithm's. f16 and bf16 are combined in float. kAvg is
// the sum divided by size(), refused for integers. Integers that overflow are
// undefined: back ends differ (MPI may saturate where the ring wraps).
//
// The forms with one array work in place; with an input and an output, which
// do not overlap, the input is left as it is. The _async forms run beside the
// caller. Several may be in flight; they run in the order of the calls. Data
// must stay untouched until the Work is waited for. Where an exception keeps
// that from happening, work goes on until the Communicator is destroyed, and
// with mpi and auto, whose calls cannot be cancelled, until the process ends:
// so the data must outlive that, or come from allocate().
class Communicator {
 public:
  virtual ~Communicator() = default;

  // As in make_communicator.
  virtual std::string name() const = 0;
  virtual int rank() const = 0;
  virtual int size() const = 0;

  virtual void run(const Collective& call) = 0;
  virtual Work start(const Collective& call) = 0;

  void all_reduce(void* data, std::size_t count, Dtype dtype, ReduceOp op,
                  int tag = -1) {
    run(all_reduce_of(data, data, count, dtype, op, tag));
  }
  void all_reduce(const void* input, void* output, std::size_t count,
                  Dtype dtype, ReduceOp op, int tag = -1) {
    run(all_reduce_of(input, output, count, dtype, op, tag));
  }
  Work all_reduce_async(void* data, std::size_t count, Dtype dtype, ReduceOp op,
                        int tag = -1) {
    return start(all_reduce_of(data, data, count, dtype, op, tag));
  }

  // Rank r's output is part r of the combined inputs. In place where `output`
  // is part r of `input`; the other parts are then lost.
  void reduce_scatter(const void* input, void* output, std::size_t count,
                      Dtype dtype, ReduceOp op) {
    run({CollectiveKind::kReduceScatter, input, output, count, dtype, op});
  }
  // Part r of every output is rank r's input. In place where `input` is part r
  // of `output`.
  void all_gather(const void* input, void* output, std::size_t count,
                  Dtype dtype) {
    run({CollectiveKind::kAllGather, input, output, count, dtype});
  }
  // In place, to the root; what the others have in `data` is lost.
  void reduce(void* data, std::size_t count, Dtype dtype, ReduceOp op,
              int root) {
    run({CollectiveKind::kReduce, data, data, count, dtype, op, root});
  }
  // Copies `bytes` of the root's data to every rank.
  void broadcast(void* data, std::size_t bytes, int root) {
    run({.kind = CollectiveKind::kBroadcast,
         .input = data,
         .output = data,
         .count = bytes,
         .root = root});
  }
  // Returns when every rank has called it.
  void barrier() { run({.kind = CollectiveKind::kBarrier}); }

  // The memory that this back end reduces best, kept as long as the
  // Communicator lives: plain, on huge pages where other processes read it by
  // the kernel's help, or mapped by all ranks of the host (shared, auto).
  // Collective, with the same or different sizes.
  virtual Buffer allocate(std::size_t bytes) { return Buffer::allocate(bytes); }

  // Whether arrays may lie there. On kCuda a call comes after all that the
  // calling thread has enqueued, and what that thread enqueues after run(), or
  // after wait(), finds the result; the host does not wait for it.
  virtual bool takes(Device device) const { return device == Device::kCpu; }

  // What this rank has sent and received since it was made or cleared, by phase
  // (ledger.h); nullptr where others move the bytes (mpi), of auto what is
  // ours. While no work is in flight.
  virtual const Ledger* ledger() const { return nullptr; }
  virtual void clear_ledger() {}

  // CommunicatorOptions::recorder; nullptr where there is none, and where the
  // messages are not ours to record (mpi, solo).
  virtual Recorder* recorder() const { return nullptr; }

  // What follows belongs to this step of training, or, -1, to none: in what is
  // recorded, and in what is said of a rank that is missing.
  virtual void set_training_step(std::int64_t) {}

  // Keeps this rank's last calls in the folder of a run from here on, where
  // they outlive the rank (call_log.h); gone after a good end. Collective.
  virtual void keep_calls(const std::string& /*run*/) {}

  // Throws MismatchError where the ranks' calls so far were not the same, for
  // back ends that do not look at each of them (nccl). Collective.
  virtual void agree_on_calls() {}

  // How far this rank's clock is ahead of rank 0's, now (clock.h); nothing
  // where the messages are not ours. Collective.
  virtual std::optional<ClockReading> measure_clock() { return std::nullopt; }

 private:
  static Collective all_reduce_of(const void* input, void* output,
                                  std::size_t count, Dtype dtype, ReduceOp op,
                                  int tag) {
    return {.kind = CollectiveKind::kAllReduce,
            .input = input,
            .output = output,
            .count = count,
            .dtype = dtype,
            .op = op,
            .tag = tag};
  }
};

// Throws Error where a call cannot be meant: a root that is no rank, an average
// of integers. What every back end asks first.
void check_call(const Collective& call, int ranks);

// What stands between a call and a hang without a word; see docs/errors.md.
struct GuardOptions {
  // All ranks must come to the same call before it begins, or it throws
  // MismatchError on all of them.
  bool check_calls = true;
  // A rank that has waited for so long in a call says for whom, and ends the
  // job with status 86 when it has waited for so much longer. timeout 0: never.
  double warn_seconds = 10;
  double timeout_seconds = 60;
  std::function<void(int status)> end = nullptr;  // what to do instead
};

struct CommunicatorOptions {
  // Of communicators over MPI. Null: neither checked, nor watched, nor
  // remembered.
  std::optional<GuardOptions> guard = GuardOptions{};
  // Bytes of a slice: a chunk is sent in pieces of at most this size, so that
  // the next piece is on the wire while this one is being added. 1 MiB was
  // best at two, three and four ranks on two cores. At least 8, the largest
  // element; at most 1 GiB.
  std::size_t slice_bytes = 1 << 20;
  // Slices in flight per rank, each way, that are added when they arrive; of
  // those that land in place, eight times as many (run_schedule.h).
  std::size_t window = 2;
  // For "auto", whose rows have slices of their own: a file that allreduce_perf
  // --tune wrote; empty: the built-in table.
  std::string algorithm_table = {};
  // Whether "auto" uses memory that the ranks of a host share.
  bool share_memory = true;
  // Whether our algorithms copy between the GPUs of a host directly, by CUDA
  // IPC, where that can be; else by way of pinned host memory.
  bool ipc = true;
  // For "shared", where threads are ranks: what they share. Null: memory of its
  // own; the communicators over MPI of one process have theirs in common, so
  // that one's arrays are good for all.
  std::shared_ptr<HostMemory> memory = nullptr;
  // Something to go wrong on purpose (fault.h), as "rank=1,op=all_reduce#7,
  // kind=stop"; empty: nothing.
  std::string fault = {};
  // Where our algorithms record what they do (recorder.h), from here on: on all
  // ranks or on none, since it takes a measurement of the clocks. Null:
  // nowhere.
  std::shared_ptr<Recorder> recorder = nullptr;
};

// Makes the back end `name` over the job's ranks: "solo" (this process alone;
// refused where the launcher started more), "mpi" (MPI_Allreduce), one of our
// algorithms over MPI, "ring", "naive", "tree", "recursive_doubling",
// "ordered", "shared" (ranks on one host, through memory that all have mapped;
// refused elsewhere), or "auto" (shared where that can be, else mpi or ours, by
// size, from a table). All but the first start MPI when needed (mpi_scope.h);
// every rank makes and destroys them at the same points, on its main thread.
// Throws Error naming the known back ends otherwise.
const std::vector<std::string>& communicator_names();
std::unique_ptr<Communicator> make_communicator(
    const std::string& name, const CommunicatorOptions& options = {});

}  // namespace ringlet
