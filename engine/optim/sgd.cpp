#include "engine/optim/sgd.h"

#include "kernels/backend.h"

namespace ringlet {

SGD::SGD(const ParameterArena& arena, const SgdOptions& options)
    : arena_(arena),
      options_(options),
      momentum_(Tensor::zeros({static_cast<std::int64_t>(arena.count())})) {
  for (const ParameterArena::Slot& slot : arena.slots()) {
    const bool spared =
        options.no_decay_bn_bias && slot.parameter.data().shape().size() == 1;
    const float decay = spared ? 0.0f : options.weight_decay;
    if (segments_.empty() || segments_.back().weight_decay != decay) {
      segments_.push_back({slot.begin, 0, decay});
    }
    segments_.back().count += slot.count;
  }
}

void SGD::step(float lr) {
  for (const Segment& segment : segments_) {
    backend(momentum_.device())
        .optim.sgd({.count = segment.count,
                    .grad = arena_.gradients() + segment.begin,
                    .momentum_buffer = momentum_.data() + segment.begin,
                    .parameter = arena_.values() + segment.begin,
                    .lr = lr,
                    .momentum = options_.momentum,
                    .weight_decay = segment.weight_decay,
                    .nesterov = options_.nesterov});
  }
}

}  // namespace ringlet
