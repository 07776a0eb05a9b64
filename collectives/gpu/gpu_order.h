#pragma once

#include <memory>

#include "collectives/communicator.h"
#include "kernels/runtime/cuda_library.h"

namespace ringlet {

// The stream on which a communicator's calls on a GPU's memory run, one after
// the other, whichever thread enqueues them.
class GpuOrder {
 public:
  // One call, made by the thread whose work it comes after.
  class Call {
   public:
    explicit Call(std::shared_ptr<GpuOrder> order);

    // On any thread: `body` enqueues what the call does.
    template <typename Body>
    void run(const Body& body) {
      const cuda::OnStream use(*order_->stream_);
      begun_->enqueue_wait();
      body();
      done_->record();
    }
    // What the calling thread enqueues from now on comes after it. After run().
    void enqueue_wait() { done_->enqueue_wait(); }

   private:
    std::shared_ptr<GpuOrder> order_;
    std::unique_ptr<cuda::Event> begun_, done_;
  };

  // Waits for all calls.
  void synchronize();

 private:
  std::unique_ptr<cuda::Stream> stream_ = cuda::library().make_stream();
};

// `host` is done when `call` has run; the result's wait() orders the waiting
// thread's work behind it.
Work after(Work host, std::shared_ptr<GpuOrder::Call> call);

}  // namespace ringlet
