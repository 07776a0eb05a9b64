#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "kernels/runtime/dtype.h"

namespace ringlet {
struct Backend;
enum class ReduceOp;
}  // namespace ringlet

namespace ringlet::cuda {

struct AugmentBatch;
struct StepState;
struct StepTables;
struct StepVerdict;

// Measures what the thread enqueues between start() and stop(), on the GPU.
class Timer {
 public:
  virtual ~Timer() = default;
  virtual void start() = 0;
  virtual void stop() = 0;
  virtual double seconds() = 0;  // waits for it
};

// What another process of this host needs to use memory or an event of this
// one: bytes to hand over.
struct IpcHandle {
  std::byte bytes[64];
};

// A place in what threads have enqueued.
class Event {
 public:
  virtual ~Event() = default;
  // Behind all that the calling thread has enqueued.
  virtual void record() = 0;
  // What the calling thread enqueues from now on comes after that place; after
  // none where it was never recorded.
  virtual void enqueue_wait() = 0;
  // Whether the GPU has come there.
  virtual bool done() = 0;
  // Only of a shared event.
  virtual IpcHandle share() = 0;
};

// A stream beside those of the threads; the GPU prefers its work to theirs.
class Stream {
 public:
  virtual ~Stream() = default;  // when its work is done
  virtual void* handle() = 0;   // a cudaStream_t
};

// Work that was recorded; may be launched as long as the memory that it uses is
// there.
class Graph {
 public:
  virtual ~Graph() = default;
  // Enqueues all of it, on the calling thread's stream.
  virtual void launch() = 0;
};

// All that uses CUDA, behind one table: kernels/cuda and the vendor's libraries
// are in a library of their own, libringlet_cuda.so, which is loaded when
// somebody asks for a GPU. So a program that was built with CUDA also runs
// where there is none, and pays for it (200 MB, mostly cuBLAS) only where there
// is.
//
// Work is enqueued on the calling thread's stream, see Device. A thread's first
// call of these, but for why_none() and use_gpu(), chooses its GPU.
class Library {
 public:
  // Why no GPU can be used; empty where one can. The first call starts CUDA.
  virtual std::string why_none() = 0;

  virtual int gpu_count() = 0;
  // Which one this process works on from now on; 0 at first. Before its first
  // work.
  virtual void use_gpu(int number) = 0;
  // "NVIDIA H200, driver 13.0, CUDA 13.0, cuDNN 9.19.0".
  virtual std::string describe() = 0;
  // Whether products of f32 may be computed in TF32, which keeps 10 bits of
  // each factor's fraction and is several times as fast; off at first.
  virtual void set_allow_tf32(bool allow) = 0;

  // What convolutions are computed by: while `tune` is on, each kind of them
  // times what there is at its first use. Choices are text, a line each, for
  // this GPU and these versions; others are of no use and left. `legacy`:
  // cuDNN's former interface, for all.
  virtual void set_conv_tuning(bool tune) = 0;
  virtual std::string conv_choices() = 0;
  virtual void set_conv_choices(const std::string& text) = 0;
  virtual void set_legacy_convolutions(bool legacy) = 0;

  // Memory of the GPU at a multiple of 256 bytes; null where there is not so
  // much left. Slow, and waits for all that runs: Buffer has a faster way.
  virtual void* allocate(std::size_t bytes) = 0;
  virtual void release(void* memory) noexcept = 0;

  struct MemoryInfo {
    std::size_t free, total;  // of the GPU, with what other processes hold
  };
  virtual MemoryInfo memory_info() = 0;

  // Memory of the host that copies of a GPU reach without a detour.
  virtual void* allocate_pinned(std::size_t bytes) = 0;
  virtual void release_pinned(void* memory) noexcept = 0;

  // The host's side of a copy must stay until synchronize().
  virtual void copy(void* to, const void* from, std::size_t bytes) = 0;
  virtual void fill_with_zeros(void* memory, std::size_t bytes) = 0;
  virtual void synchronize() = 0;

  virtual std::unique_ptr<Event> make_event() = 0;
  virtual std::unique_ptr<Timer> make_timer() = 0;

  // What the calling thread is at, for NVIDIA's profilers (NVTX); nested.
  // Nothing where the toolkit had no NVTX.
  virtual void begin_range(const char* name) = 0;
  virtual void end_range() = 0;

  virtual std::unique_ptr<Stream> make_stream() = 0;
  // Where the calling thread enqueues from now on, and where it did before;
  // null: its own stream. See OnStream.
  virtual Stream* use_stream(Stream* stream) = 0;

  // For other processes. Memory is what allocate() gave; each of them opens it
  // once, and closes it before it is released. Throws where CUDA cannot do it:
  // for GPUs without a way to each other, say.
  virtual std::unique_ptr<Event> make_shared_event() = 0;
  virtual std::unique_ptr<Event> open_event(const IpcHandle& handle) = 0;
  virtual IpcHandle share_memory(void* memory) = 0;
  virtual void* open_memory(const IpcHandle& handle) = 0;
  virtual void close_memory(void* memory) noexcept = 0;

  // What the calling thread enqueues between the two is not done, but becomes
  // the graph; null where that is nothing. See Recording.
  virtual void begin_graph() = 0;
  virtual std::unique_ptr<Graph> end_graph() = 0;
  // Instead of end_graph(), after an error.
  virtual void drop_graph() noexcept = 0;

  // Of the calling thread: its kernels, and the cudaStream_t of its work.
  virtual Backend& backend() = 0;
  virtual void* stream() = 0;
  // See kernels/reduce.h.
  virtual void reduce(void* accumulator, const void* operand, std::size_t count,
                      Dtype dtype, ReduceOp op) = 0;
  virtual void reduce_tree(void* result, const void* const* operands,
                           std::size_t operand_count, std::size_t count,
                           Dtype dtype, ReduceOp op) = 0;
  virtual void scale(void* data, std::size_t count, Dtype dtype,
                     double factor) = 0;
  virtual void narrow(void* target, Dtype dtype, const float* source,
                      std::size_t count, float factor) = 0;
  virtual void widen(float* target, const void* source, Dtype dtype,
                     std::size_t count) = 0;
  // See kernels/augment.h.
  virtual void augment(const AugmentBatch& batch) = 0;
  // See kernels/step.h.
  virtual void begin_step(const StepTables& tables, StepState* state) = 0;
  virtual void judge_step(const StepVerdict& verdict) = 0;
  virtual void restore_if_skipped(const StepState* state, std::size_t words,
                                  const void* before, void* now) = 0;

 protected:
  ~Library() = default;
};

// Whether NVIDIA's driver has made one of its files; loads nothing.
bool has_driver();

// Throws an Error with the reason where there is none.
Library& library();

// Null where this process has not called library() yet; loads nothing.
Library* library_in_use();

// Why there is no library, or no GPU; empty where there are both.
std::string why_none();

// While one lives, what this thread enqueues goes to that stream.
class OnStream {
 public:
  explicit OnStream(Stream& stream) : before_(library().use_stream(&stream)) {}
  ~OnStream() { library().use_stream(before_); }
  OnStream(const OnStream&) = delete;
  OnStream& operator=(const OnStream&) = delete;

 private:
  Stream* before_;
};

}  // namespace ringlet::cuda

// In libringlet_cuda.so.
extern "C" ringlet::cuda::Library* ringlet_cuda_library();
