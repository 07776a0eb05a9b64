#include "engine/parallel/step_buffers.h"

#include "kernels/reduce.h"

namespace ringlet {

StepBuffers::StepBuffers(const Module::JoinedBuffers& buffers,
                         Communicator& reducer,
                         const StepBuffersOptions& options)
    : buffers_(buffers),
      reducer_(reducer),
      options_(options),
      before_(buffers.all.clone()) {
  if (options.virtual_ranks == 1) return;
  first_ = buffers.all.clone();
  if (options.averaged) {
    tree_.emplace(options.virtual_ranks, buffers.floats.count(),
                  buffers.all.device());
  }
}

void StepBuffers::start_step() const { before_.copy_from(buffers_.all); }

void StepBuffers::start_shard(std::size_t shard) const {
  if (options_.virtual_ranks > 1 && shard > 0) undo();
}

void StepBuffers::end_shard(std::size_t shard) const {
  if (options_.virtual_ranks == 1) return;
  if (shard == 0) first_.copy_from(buffers_.all);
  if (tree_) {
    tree_->add(shard, buffers_.floats.data(), 0, buffers_.floats.count());
  }
}

void StepBuffers::finalize() const {
  const Tensor& floats = buffers_.floats;
  const Device device = floats.device();
  if (!options_.averaged) {
    if (first_.defined()) buffers_.all.copy_from(first_);
    return;
  }
  if (first_.defined()) {
    // The sum in place of the first one's.
    copy_memory(first_.raw(), device, floats.raw(), device, floats.bytes());
    buffers_.all.copy_from(first_);
  }
  const double parts = static_cast<double>(options_.virtual_ranks) *
                       static_cast<double>(reducer_.size());
  reducer_.all_reduce(floats.raw(), floats.count(), Dtype::kF32,
                      ReduceOp::kSum);
  scale(device, floats.raw(), floats.count(), Dtype::kF32, 1 / parts);
}

void StepBuffers::undo() const { buffers_.all.copy_from(before_); }

}  // namespace ringlet
