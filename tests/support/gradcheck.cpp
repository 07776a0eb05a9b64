#include "support/gradcheck.h"

#include <algorithm>

#include "kernels/backend.h"
#include "kernels/runtime/philox.h"

namespace ringlet::testing {
namespace {

// The scalar sum(weights * y), as an op.
Variable weighted_sum(const Variable& y, const Array& weights) {
  const Array values = to_array(y.data());
  double sum = 0;
  for (std::size_t i = 0; i < values.count(); ++i) {
    sum += values.values[i] * weights.values[i];
  }
  return make_result(
      "weighted_sum", Tensor::of({}, {static_cast<float>(sum)}), {y},
      [=](const Tensor&) {
        GradSink dy(y);
        dy.memory().copy_from(to_tensor(weights).to_layout(y.data().layout()));
        dy.deliver();
      });
}

double weighted_sum(const Array& y, const Array& weights) {
  double sum = 0;
  for (std::size_t i = 0; i < y.count(); ++i) {
    sum += y.values[i] * weights.values[i];
  }
  return sum;
}

// Elements of a gradient that are compared: all, or of large ones a sample,
// since each costs two runs of the reference.
std::vector<std::size_t> sample_of(std::size_t count) {
  constexpr std::size_t kMost = 200;
  constexpr std::uint32_t kSampleSeed = 998;
  std::vector<std::size_t> sample;
  PhiloxStream random(1, RandomPurpose::kSyntheticData, 0, kSampleSeed);
  for (std::size_t i = 0; i < std::min(count, kMost); ++i) {
    sample.push_back(
        count <= kMost ? i : random.below(static_cast<std::uint32_t>(count)));
  }
  return sample;
}

Array elements_of(const Array& array, const std::vector<std::size_t>& sample) {
  Array chosen({sample.size()});
  for (std::size_t i = 0; i < sample.size(); ++i) {
    chosen.values[i] = array.values.at(sample[i]);
  }
  return chosen;
}

// Central differences; in double a step this small leaves about ten digits.
Array numeric_gradient(const ReferenceOp& reference, std::vector<Array> inputs,
                       std::size_t which, const Array& weights,
                       const std::vector<std::size_t>& sample) {
  constexpr double kStep = 1e-6;
  Array gradient({sample.size()});
  for (std::size_t i = 0; i < sample.size(); ++i) {
    double& value = inputs[which].values[sample[i]];
    const double before = value;
    value = before + kStep;
    const double above = weighted_sum(reference(inputs), weights);
    value = before - kStep;
    const double below = weighted_sum(reference(inputs), weights);
    value = before;
    gradient.values[i] = (above - below) / (2 * kStep);
  }
  return gradient;
}

}  // namespace

double GradcheckResult::worst() const {
  double result = forward;
  for (const double gradient : gradients) result = std::max(result, gradient);
  return result;
}

Variable activation(const Array& array) {
  return Variable(to_tensor(array).to_layout(backend().activation_layout),
                  true);
}

GradcheckResult gradcheck(const Op& op, const ReferenceOp& reference,
                          const std::vector<Array>& inputs,
                          const std::vector<std::size_t>& plain) {
  std::vector<Variable> variables;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const bool as_is = inputs[i].shape.size() != 4 ||
                       std::find(plain.begin(), plain.end(), i) != plain.end();
    variables.push_back(as_is ? Variable(to_tensor(inputs[i]), true)
                              : activation(inputs[i]));
  }
  const Variable y = op(variables);
  const Array expected = reference(inputs);
  GradcheckResult result{relative_distance(to_array(y.data()), expected), {}};

  constexpr std::uint32_t kWeightSeed = 999;
  Array weights = random_array(expected.shape, kWeightSeed);
  // A loss is the end of its graph already.
  const bool is_loss = expected.shape.empty();
  if (is_loss) weights.values = {1.0};
  backward(is_loss ? y : weighted_sum(y, weights));
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const std::vector<std::size_t> sample = sample_of(inputs[i].count());
    result.gradients.push_back(relative_distance(
        elements_of(to_array(variables[i].grad()), sample),
        numeric_gradient(reference, inputs, i, weights, sample)));
  }
  return result;
}

}  // namespace ringlet::testing
