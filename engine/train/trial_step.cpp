#include "engine/train/trial_step.h"

#include <fmt/format.h>

#include "engine/autograd/ops.h"
#include "engine/autograd/parameter_arena.h"
#include "engine/optim/sgd.h"
#include "kernels/backend.h"
#include "kernels/runtime/buffer.h"
#include "kernels/runtime/error.h"

namespace ringlet {
namespace {

void one_step(Module& model, const ImageSet& like, std::size_t pictures,
              const ComputeOptions& compute) {
  constexpr float kRate = 1;
  model.to(compute.device);
  const ParameterArena arena(model.parameters(), {.dtype = compute.dtype});
  arena.update_half_copy();
  SGD sgd(arena, {.momentum = 0.9f});
  const auto size = [](std::size_t value) {
    return static_cast<std::int64_t>(value);
  };
  const Tensor images = Tensor::zeros(
      {size(pictures), size(kImageChannels), size(like.height),
       size(like.width)},
      compute.dtype, backend(compute.device).activation_layout, compute.device);
  const Tensor labels = Tensor::zeros({size(pictures)}, Dtype::kI32,
                                      Layout::kPlain, compute.device);
  model.train();
  arena.zero_grad();
  const CrossEntropyOutput out =
      cross_entropy(model.forward(Variable(images)), labels);
  backward(out.loss);
  sgd.step(kRate);
  synchronize(compute.device);
}

}  // namespace

void try_step(const std::function<std::unique_ptr<Module>()>& make_model,
              const ImageSet& like, std::size_t pictures,
              const ComputeOptions& compute) {
  std::string too_many;  // what was said of the whole batch
  for (std::size_t count = pictures; count > 0; count /= 2) {
    // Its memory goes back at the end, so that all of it is there next time.
    const DevicePool pool;
    const DevicePool::Use use(pool);
    try {
      one_step(*make_model(), like, count, compute);
    } catch (const OutOfMemoryError& error) {
      if (too_many.empty()) too_many = error.what();
      continue;
    }
    if (too_many.empty()) return;
    throw Error(
        fmt::format("a step on {} pictures per rank: {}; one on {} fits",
                    pictures, too_many, count));
  }
  throw Error(fmt::format("a step on one picture: {}", too_many));
}

}  // namespace ringlet
