#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "kernels/runtime/cuda_library.h"

namespace ringlet {

// What a thread enqueues on kCuda, recorded once to be done again and again: as
// CUDA graphs, and between them what the host must do, which no graph can hold.
//
//   graph | the host starts an all-reduce | graph | the host waits | graph
class Recording {
 public:
  // Records what `body` enqueues from this thread; nothing of it is done
  // meanwhile. It must not wait for the GPU, nor copy from or to memory of the
  // host other than pinned, and all in it must have run once before: libraries
  // make their plans at first use. One at a time in a thread.
  explicit Recording(const std::function<void()>& body);
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

  // Enqueues all of it, on the calling thread's stream. The memory that it uses
  // must still be there.
  void launch() const;

  // Whether this thread records now.
  static bool is_on();
  // While it does: the host is to do this here, each time.
  static void add(std::function<void()> action);

 private:
  struct Part {
    std::unique_ptr<cuda::Graph> graph;  // or
    std::function<void()> action;
  };

  void end_graph();

  std::vector<Part> parts_;
};

}  // namespace ringlet
