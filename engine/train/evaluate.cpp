#include "engine/train/evaluate.h"

#include <array>

#include "engine/autograd/ops.h"
#include "engine/data/data_loader.h"
#include "kernels/reduce.h"
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

double tree_sum(const std::vector<double>& values) {
  std::vector<const void*> operands;
  for (const double& value : values) operands.push_back(&value);
  double sum = 0;
  reduce_tree(&sum, operands.data(), operands.size(), 1, Dtype::kF64,
              ReduceOp::kSum);
  return sum;
}

EvaluationResult evaluate(
    Module& model, const ImageSet& images, Communicator& communicator,
    const ComputeOptions& compute, std::size_t shards,
    const std::function<void(std::size_t done)>& on_progress) {
  const EvaluationMode mode(model);
  const auto ranks = static_cast<std::size_t>(communicator.size());
  const auto loader = make_loader(
      images,
      DistributedSampler(
          {.count = images.count(),
           .global_batch = batch_on(compute.device) * ranks * shards,
           .rank = static_cast<std::size_t>(communicator.rank()),
           .world_size = ranks,
           .shuffle = false,
           .shards = shards}),
      {.device = compute.device, .dtype = compute.dtype});
  std::vector<double> losses(shards);
  std::size_t done = 0;
  std::array<std::int64_t, 2> right_and_seen{};
  loader->start(0);
  while (const std::optional<Batch> batch = loader->next()) {
    std::int64_t begin = 0;
    for (std::size_t shard = 0; shard < shards; ++shard) {
      const auto count = static_cast<std::int64_t>(batch->shards[shard]);
      if (count == 0) continue;
      const Variable logits =
          model.forward(Variable(batch->images.rows(begin, count)));
      const CrossEntropyResult result =
          cross_entropy(logits, batch->labels.rows(begin, count),
                        {.global_batch = images.count()})
              .read();
      losses[shard] += result.loss;
      right_and_seen[0] += result.correct;
      right_and_seen[1] += count;
      begin += count;
    }
    done += batch->global_count;
    if (on_progress) on_progress(done);
  }
  double loss = tree_sum(losses);
  communicator.all_reduce(&loss, 1, Dtype::kF64, ReduceOp::kSum);
  communicator.all_reduce(right_and_seen.data(), right_and_seen.size(),
                          Dtype::kI64, ReduceOp::kSum);
  const auto [right, seen] = right_and_seen;
  RINGLET_CHECK(static_cast<std::size_t>(seen) == images.count(),
                "evaluated {} pictures of {}", seen, images.count());
  return {loss, static_cast<double>(right) / static_cast<double>(seen),
          images.count()};
}

Tensor classify(Module& model, const ImageSet& images, Device device) {
  const EvaluationMode mode(model);
  const auto loader =
      make_loader(images,
                  DistributedSampler({.count = images.count(),
                                      .global_batch = batch_on(device),
                                      .shuffle = false}),
                  {.device = device});
  Tensor all;
  std::int64_t begin = 0;
  loader->start(0);
  while (const std::optional<Batch> batch = loader->next()) {
    const Tensor logits =
        model.forward(Variable(batch->images)).data().to_host();
    if (!all.defined()) {
      all = Tensor({static_cast<std::int64_t>(images.count()), logits.dim(1)});
    }
    all.rows(begin, logits.dim(0)).copy_from(logits);
    begin += logits.dim(0);
  }
  return all;
}

}  // namespace ringlet
