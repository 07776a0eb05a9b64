#include "collectives/host_communicator.h"

#include <utility>

#include "kernels/runtime/check.h"

namespace ringlet {

HostCommunicator::HostCommunicator(std::unique_ptr<HostCollectives> collectives)
    : collectives_(std::move(collectives)),
      progress_([back_end = collectives_.get()](bool urgent) {
        back_end->set_urgent(urgent);
      }) {}

HostCommunicator::~HostCommunicator() {
  if (unwinding_ && !collectives_->cancel()) {
    // What the abandoned thread uses lives on.
    static auto* kept = new std::vector<Buffer>;
    kept->insert(kept->end(), allocated_.begin(), allocated_.end());
    progress_.abandon();
    collectives_.release();
  }
}

Buffer HostCommunicator::allocate(std::size_t bytes) {
  allocated_.push_back(Buffer::allocate(bytes));
  return allocated_.back();
}

void HostCommunicator::all_reduce(void* data, std::size_t count, Dtype dtype,
                                  ReduceOp op) {
  progress_.run(
      [=, this] { collectives_->all_reduce(data, count, dtype, op); });
}

Work HostCommunicator::all_reduce_async(void* data, std::size_t count,
                                        Dtype dtype, ReduceOp op) {
  return progress_.submit([=, back_end = collectives_.get()] {
    back_end->all_reduce(data, count, dtype, op);
  });
}

void HostCommunicator::broadcast(void* data, std::size_t bytes, int root) {
  RINGLET_CHECK(0 <= root && root < size(), "root {} of {} ranks", root,
                size());
  progress_.run([=, this] { collectives_->broadcast(data, bytes, root); });
}

void HostCommunicator::barrier() {
  progress_.run([this] { collectives_->barrier(); });
}

}  // namespace ringlet
