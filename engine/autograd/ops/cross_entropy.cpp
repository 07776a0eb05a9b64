#include <cstddef>

#include "engine/autograd/ops.h"
#include "engine/autograd/ops/shapes.h"

namespace ringlet {

CrossEntropyOutput cross_entropy(const Variable& logits, const Tensor& labels,
                                 const CrossEntropyOptions& options) {
  RINGLET_CHECK(logits.data().shape().size() == 2 &&
                    labels.shape() == Shape{logits.data().dim(0)} &&
                    labels.device() == logits.data().device(),
                "cross_entropy of logits {} on {} with labels {} on {}",
                to_string(logits.data().shape()),
                name_of(logits.data().device()), to_string(labels.shape()),
                name_of(labels.device()));
  const bool mixed = options.other_labels.defined();
  RINGLET_CHECK(!mixed || (options.other_labels.shape() == labels.shape() &&
                           options.share.count() == 1),
                "cross_entropy of {} labels with {} others",
                to_string(labels.shape()),
                to_string(options.other_labels.shape()));
  const std::size_t n = size_at(logits.data(), 0);
  const std::size_t batch = options.global_batch ? options.global_batch : n;
  const Device device = labels.device();
  Tensor dlogits;
  if (records_gradient({logits})) {
    dlogits = Tensor(logits.data().shape(), logits.data().dtype(),
                     Layout::kPlain, device);
  }
  const Buffer result = Buffer::allocate(sizeof(CrossEntropyResult), device);
  backend(device).loss.cross_entropy(
      {.n = n,
       .classes = size_at(logits.data(), 1),
       .dtype = logits.data().dtype(),
       .logits = logits.data().raw(),
       .labels = labels.data<std::int32_t>(),
       .other_labels =
           mixed ? options.other_labels.data<std::int32_t>() : nullptr,
       .share = mixed ? options.share.data() : nullptr,
       .label_smoothing = options.label_smoothing,
       .scale = 1.0f / static_cast<float>(batch),
       .gradient_scale = options.gradient_scale,
       .dlogits = dlogits.defined() ? dlogits.raw() : nullptr,
       .result = reinterpret_cast<CrossEntropyResult*>(result.data())});
  // The gradient was made with the loss; backward() starts from 1, so it is
  // handed on as it is.
  Variable loss = make_result(
      "cross_entropy",
      Tensor({}, Dtype::kF64, Layout::kPlain, result,
             offsetof(CrossEntropyResult, loss)),
      {logits}, [=, logits = logits.without_value()](const Tensor& dloss) {
        RINGLET_CHECK(dloss.item() == 1.0,
                      "cross_entropy must be the end of the graph");
        GradSink sink(logits);
        sink.share(dlogits);
        sink.deliver();
      });
  return {loss, result, labels, options.other_labels,
          size_at(logits.data(), 1)};
}

CrossEntropyResult CrossEntropyOutput::read() const {
  CrossEntropyResult values;
  copy_memory(&values, Device::kCpu, result.data(), result.device(),
              sizeof(values));
  if (values.bad_label >= 0) {
    const auto sample = static_cast<std::size_t>(values.bad_label);
    const auto label_in = [&](const Tensor& tensor) {
      return tensor.to_host().data<std::int32_t>()[sample];
    };
    throw Error(fmt::format(
        "cross_entropy: sample {} has label {}{}, expected 0 to {}", sample,
        label_in(labels),
        other_labels.defined() ? fmt::format(" and {}", label_in(other_labels))
                               : "",
        classes - 1));
  }
  return values;
}

}  // namespace ringlet
