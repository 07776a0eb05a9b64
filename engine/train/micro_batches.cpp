#include "engine/train/micro_batches.h"

namespace ringlet {

void MicroBatches::run(const Batch& batch, const float* gradient_scale,
                       StepTimer& timer, const Done& done) const {
  parallel_.start_step();
  buffers_.start_step();
  std::int64_t begin = 0;
  for (std::size_t shard = 0; shard < batch.shards.size(); ++shard) {
    if (shard > 0) parallel_.next_shard();
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
      timer.lap(StepPhase::kForward);
      backward(out.loss);
      done(shard, out);
    } else {
      parallel_.backward_nothing();
    }
    buffers_.end_shard(shard);
    timer.lap(StepPhase::kBackward);
    begin += count;
  }
  parallel_.finalize();
  buffers_.finalize();
}

}  // namespace ringlet
