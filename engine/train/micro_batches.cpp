#include "engine/train/micro_batches.h"

#include <utility>

namespace ringlet {

void MicroBatches::run(const Batch& batch, const float* gradient_scale,
                       StepPhases& phases, const Done& done) const {
  parallel_.start_step();
  buffers_.start_step();
  std::int64_t begin = 0;
  for (std::size_t shard = 0; shard < batch.shards.size(); ++shard) {
    if (shard > 0) {
      phases.start(StepPhase::kForward, shard);
      parallel_.next_shard();
    }
    buffers_.start_shard(shard);
    const auto count = static_cast<std::int64_t>(batch.shards[shard]);
    if (count > 0) {
      const Variable logits =
          model_.forward(Variable(batch.images.rows(begin, count)));
      const bool mixed = batch.other_labels.defined();
      const CrossEntropyOutput out = cross_entropy(
          logits, batch.labels.rows(begin, count),
          {.other_labels =
               mixed ? batch.other_labels.rows(begin, count) : Tensor(),
           .share = batch.share,
           .label_smoothing = label_smoothing_,
           .global_batch = batch.global_count,
           .gradient_scale = gradient_scale});
      phases.start(StepPhase::kBackward, shard);
      backward(out.loss);
      done(shard, out);
    } else {
      run_nothing(batch, shard);
      phases.start(StepPhase::kBackward, shard);
    }
    buffers_.end_shard(shard);
    begin += count;
  }
  phases.start(StepPhase::kCommunication);
  parallel_.finalize();
  buffers_.finalize();
}

// Where this rank has no picture in the shard. Others may have; where not even
// rank 0, whose blocks come first, nobody has.
void MicroBatches::run_nothing(const Batch& batch, std::size_t shard) const {
  if (batch_norm_ == nullptr || shard >= batch.global_count) {
    return parallel_.backward_nothing();
  }
  batch_norm_->count_pictures(false);
  const Tensor& like = batch.images;
  const auto zeros = [&](Shape shape, Dtype dtype, Layout layout) {
    return Tensor::zeros(std::move(shape), dtype, layout, like.device());
  };
  const Tensor picture = zeros({1, like.dim(1), like.dim(2), like.dim(3)},
                               like.dtype(), like.layout());
  const Tensor no_gradient = zeros({}, Dtype::kF32, Layout::kPlain);
  backward(cross_entropy(model_.forward(Variable(picture)),
                         zeros({1}, Dtype::kI32, Layout::kPlain),
                         {.gradient_scale = no_gradient.data()})
               .loss);
  batch_norm_->count_pictures(true);
}

}  // namespace ringlet
