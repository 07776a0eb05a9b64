#include "engine/autograd/ops.h"
#include "engine/autograd/ops/shapes.h"

namespace ringlet {

CrossEntropyOutput cross_entropy(const Variable& logits, const Tensor& labels,
                                 const CrossEntropyOptions& options) {
  RINGLET_CHECK(logits.data().shape().size() == 2 &&
                    labels.shape() == Shape{logits.data().dim(0)},
                "cross_entropy of logits {} with labels {}",
                to_string(logits.data().shape()), to_string(labels.shape()));
  const std::size_t n = size_at(logits.data(), 0);
  const std::size_t batch = options.global_batch ? options.global_batch : n;
  const std::size_t classes = size_at(logits.data(), 1);
  Tensor dlogits;
  if (records_gradient({logits})) {
    dlogits = Tensor(logits.data().shape(), logits.data().dtype());
  }
  CrossEntropyResult result;
  backend(labels.device())
      .loss.cross_entropy(
          {.n = n,
           .classes = classes,
           .dtype = logits.data().dtype(),
           .logits = logits.data().raw(),
           .labels = labels.data<std::int32_t>(),
           .label_smoothing = options.label_smoothing,
           .scale = 1.0f / static_cast<float>(batch),
           .dlogits = dlogits.defined() ? dlogits.raw() : nullptr,
           .result = &result});
  if (result.bad_label >= 0) {
    const auto sample = static_cast<std::size_t>(result.bad_label);
    throw Error(
        fmt::format("cross_entropy: sample {} has label {}, expected 0 to {}",
                    sample, labels.data<std::int32_t>()[sample], classes - 1));
  }
  // The gradient was made with the loss; backward() starts from 1, so it is
  // handed on as it is.
  Variable loss = make_result(
      "cross_entropy", Tensor::of({}, {static_cast<float>(result.loss)}),
      {logits}, [=, logits = logits.without_value()](const Tensor& dloss) {
        RINGLET_CHECK(dloss.item() == 1.0f,
                      "cross_entropy must be the end of the graph");
        GradSink sink(logits);
        sink.share(dlogits);
        sink.deliver();
      });
  return {loss, result.loss, static_cast<std::size_t>(result.correct)};
}

}  // namespace ringlet
