#include "engine/train/evaluate.h"

#include <array>

#include "engine/autograd/ops.h"
#include "engine/data/data_loader.h"
#include "kernels/runtime/check.h"

namespace ringlet {
namespace {

// Pictures per rank and step: enough to fill the device, little memory.
constexpr std::size_t batch_on(Device device) {
  return device == Device::kCuda ? 1000 : 50;
}

class EvaluationMode {
 public:
  explicit EvaluationMode(Module& model)
      : model_(model), before_(model.training()) {
    model_.eval();
  }
  ~EvaluationMode() { model_.train(before_); }
  EvaluationMode(const EvaluationMode&) = delete;
  EvaluationMode& operator=(const EvaluationMode&) = delete;

 private:
  Module& model_;
  bool before_;
  NoGradGuard no_grad_;
};

}  // namespace

EvaluationResult evaluate(
    Module& model, const ImageSet& images, Communicator& communicator,
    const ComputeOptions& compute,
    const std::function<void(std::size_t done)>& on_progress) {
  const EvaluationMode mode(model);
  const auto ranks = static_cast<std::size_t>(communicator.size());
  const auto loader = make_loader(
      images,
      DistributedSampler({.count = images.count(),
                          .global_batch = batch_on(compute.device) * ranks,
                          .rank = static_cast<std::size_t>(communicator.rank()),
                          .world_size = ranks,
                          .shuffle = false}),
      {.device = compute.device, .dtype = compute.dtype});
  double loss = 0;
  std::size_t done = 0;
  std::array<std::int64_t, 2> right_and_seen{};
  loader->start(0);
  while (const std::optional<Batch> batch = loader->next()) {
    if (batch->labels.count() > 0) {
      const Variable logits = model.forward(Variable(batch->images));
      const CrossEntropyResult result =
          cross_entropy(logits, batch->labels, {.global_batch = images.count()})
              .read();
      loss += result.loss;
      right_and_seen[0] += result.correct;
      right_and_seen[1] += batch->labels.dim(0);
    }
    done += batch->global_count;
    if (on_progress) on_progress(done);
  }
  communicator.all_reduce(&loss, 1, Dtype::kF64, ReduceOp::kSum);
  communicator.all_reduce(right_and_seen.data(), right_and_seen.size(),
                          Dtype::kI64, ReduceOp::kSum);
  const auto [right, seen] = right_and_seen;
  RINGLET_CHECK(static_cast<std::size_t>(seen) == images.count(),
                "evaluated {} pictures of {}", seen, images.count());
  return {loss, static_cast<double>(right) / static_cast<double>(seen),
          images.count()};
}

}  // namespace ringlet
