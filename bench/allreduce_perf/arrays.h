#pragma once

#include <memory>

#include "bench/allreduce_perf/options.h"
#include "bench/measure/memory_limit.h"
#include "collectives/communicator.h"
#include "kernels/runtime/buffer.h"

namespace ringlet {

// The input and the output of the calls that are measured, of the largest size,
// where --device says; and for the host to look at them, what was last copied
// to or from there. On the CPU the two are one.
class Arrays {
 public:
  // Collective where ranks share the memory (-R).
  explicit Arrays(const PerfOptions& options);
  ~Arrays();

  std::byte* input() const { return input_.data(); }
  std::byte* output() const { return output_.data(); }

  // Where the host sees this place of either.
  std::byte* on_host(const void* data) const;
  void to_device(void* data, std::size_t bytes) const;
  void to_host(const void* data, std::size_t bytes) const;

  // Makes each element 1, as backward would write a gradient; waits for it.
  void rewrite(void* data, std::size_t bytes, Dtype dtype);
  // Waits for what this thread has enqueued.
  void synchronize() const;

  // What memory allows: of a GPU, where ranks that share it take turns, only
  // `copy` is measured, on the arrays themselves.
  MemoryLimit measure_limit(std::size_t bytes) const;

 private:
  const PerfOptions& options_;
  std::unique_ptr<Communicator> allocator_;  // of what is registered
  Buffer input_, output_, host_input_, host_output_;
  Buffer ones_;  // on a GPU, of ones_dtype_
  Dtype ones_dtype_ = Dtype::kU8;
};

}  // namespace ringlet
