#include <algorithm>
#include <functional>

#include "engine/autograd/ops.h"
#include "engine/autograd/parameter_arena.h"
#include "kernels/backend.h"
#include "kernels/runtime/half.h"
#include "support/catch.h"
#include "support/gradcheck.h"

// An op in bf16 computes what it does in f32, of the same values, and rounds
// what it writes.

using namespace ringlet;
using namespace ringlet::testing;

namespace {

Tensor rounded(const Tensor& tensor) {
  return tensor.to_layout(Layout::kPlain, Dtype::kBF16)
      .to_layout(Layout::kPlain, Dtype::kF32);
}

Tensor random_activation(std::vector<std::size_t> shape, std::uint32_t seed) {
  return rounded(to_tensor(random_array(std::move(shape), seed)));
}

struct Inputs {
  std::vector<Tensor> activations, parameters;  // plain, f32
  bool pictures = false;  // the activations stay plain, and have no gradient
};

struct Outputs {
  Tensor y;
  std::vector<Tensor> activations, parameters;  // gradients
};

// A scalar whose gradient by y is dy.
Variable end_in(const Variable& y, const Tensor& dy) {
  return make_result("end_in", Tensor::of({}, {0.0f}), {y}, [=](const Tensor&) {
    GradSink sink(y);
    sink.memory().copy_from(dy);
    sink.deliver();
  });
}

// Those of `op`, which takes the activations and then the parameters.
Outputs run(const Op& op, const Inputs& inputs, Dtype dtype) {
  std::vector<Variable> variables, parameters;
  for (const Tensor& tensor : inputs.activations) {
    const Layout layout = tensor.shape().size() == 4 && !inputs.pictures
                              ? backend().activation_layout
                              : Layout::kPlain;
    variables.emplace_back(tensor.to_layout(layout, dtype), !inputs.pictures);
  }
  for (const Tensor& tensor : inputs.parameters) {
    parameters.emplace_back(tensor.clone(), true);
    variables.push_back(parameters.back());
  }
  const ParameterArena arena(parameters, {.dtype = dtype});
  const Variable y = op(variables);
  CHECK(y.data().dtype() == dtype);
  const Array like = to_array(y.data().to_layout(Layout::kPlain, Dtype::kF32));
  backward(end_in(y, random_activation(like.shape, 99)));
  Outputs outputs{rounded(y.data()), {}, {}};
  for (std::size_t i = 0; !inputs.pictures && i < inputs.activations.size();
       ++i) {
    CHECK(variables[i].grad().dtype() == dtype);
    outputs.activations.push_back(rounded(variables[i].grad()));
  }
  for (const Variable& parameter : parameters) {
    outputs.parameters.push_back(parameter.grad().clone());
  }
  return outputs;
}

// The largest relative distance of any output.
double distance(const Op& op, const Inputs& inputs) {
  const Outputs got = run(op, inputs, Dtype::kBF16);
  const Outputs wanted = run(op, inputs, Dtype::kF32);
  double worst = 0;
  const auto compare = [&](const Tensor& one, const Tensor& other) {
    const Array values = to_array(other);
    CHECK(relative_distance(values, Array(values.shape)) > 0);
    worst = std::max(worst, relative_distance(to_array(one), values));
  };
  compare(got.y, wanted.y);
  for (std::size_t i = 0; i < wanted.activations.size(); ++i) {
    compare(got.activations[i], wanted.activations[i]);
  }
  for (std::size_t i = 0; i < wanted.parameters.size(); ++i) {
    compare(got.parameters[i], wanted.parameters[i]);
  }
  return worst;
}

BatchNormState fresh_state(std::int64_t channels) {
  BatchNormState state;
  state.running_mean = Tensor::zeros({channels});
  state.running_var = Tensor::of(
      {channels}, std::vector<float>(static_cast<std::size_t>(channels), 1.0f));
  return state;
}

}  // namespace

TEST_CASE("relu, add and pools in bf16 are those of f32, rounded") {
  const std::size_t channels = GENERATE(1, 16, 35);
  const std::vector<std::size_t> shape{2, channels, 7, 5};
  const Inputs one{{random_activation(shape, 1)}, {}};
  const Inputs two{{random_activation(shape, 1), random_activation(shape, 2)},
                   {}};
  using Variables = std::vector<Variable>;
  CHECK(distance([](const Variables& v) { return relu(v[0]); }, one) == 0);
  CHECK(distance([](const Variables& v) { return add(v[0], v[1]); }, two) == 0);
  CHECK(distance(
            [](const Variables& v) {
              return max_pool2d(v[0], {.kernel = 3, .stride = 2, .padding = 1});
            },
            one) == 0);
  CHECK(distance([](const Variables& v) { return global_average_pool(v[0]); },
                 one) == 0);
}

TEST_CASE("batch norm in bf16 is that of f32, rounded") {
  const bool training = GENERATE(true, false);
  const bool fused = GENERATE(true, false);
  const std::size_t channels = GENERATE(5, 32);
  CAPTURE(training, fused, channels);
  const std::vector<std::size_t> shape{3, channels, 4, 5};
  Inputs inputs{
      {random_activation(shape, 1)},
      {random_activation({channels}, 3), random_activation({channels}, 4)}};
  if (fused) inputs.activations.push_back(random_activation(shape, 2));
  std::vector<BatchNormState> states;
  const auto op = [&](const std::vector<Variable>& v) {
    states.push_back(fresh_state(static_cast<std::int64_t>(channels)));
    return batch_norm(v[0], v[v.size() - 2], v[v.size() - 1], states.back(),
                      {.training = training,
                       .relu = fused,
                       .residual = fused ? v[1] : Variable()});
  };
  CHECK(distance(op, inputs) == 0);
  if (!training) return;
  CHECK(relative_distance(to_array(states[0].running_var),
                          to_array(states[1].running_var)) == 0);
  CHECK(relative_distance(to_array(states[0].running_mean),
                          to_array(states[1].running_mean)) == 0);
}

// Vectors round and widen as single floats do: batch norm's against add's.
TEST_CASE("all bf16 are rounded alike by batch norm and by add") {
  // All bits of x, and a residual near to half of its last one: the sums lie in
  // the middle of two bf16, or to either side of it.
  const float part = GENERATE(0.0f, 0x1p-9f, -0x1p-9f, 0x1.02p-9f, 0x1.fep-9f);
  CAPTURE(part);
  const Activation shape{1,           16, 64, 64, backend().activation_layout,
                         Dtype::kBF16};
  const std::size_t count = shape.storage_count();
  REQUIRE(count == 1 << 16);
  std::vector<BFloat16> x(count), residual(count), sum(count), y(count);
  for (std::size_t i = 0; i < count; ++i) {
    x[i].bits = static_cast<std::uint16_t>(i);
    residual[i] = narrow<BFloat16>(widen(x[i]) * part);
  }
  backend().elementwise.add(count, Dtype::kBF16, x.data(), residual.data(),
                            sum.data());
  const std::vector<float> zeros(16, 0.0f), ones(16, 1.0f);
  const std::vector<float> negative_zeros(16, -0.0f);  // to which -0 adds up
  backend().norm.apply({.shape = shape,
                        .x = x.data(),
                        .gamma = ones.data(),
                        .beta = negative_zeros.data(),
                        .mean = zeros.data(),
                        .inv_std = ones.data(),
                        .residual = residual.data(),
                        .y = y.data()});
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const float wanted = widen(x[i]) + widen(residual[i]);
    wrong += y[i].bits != sum[i].bits;
    wrong += sum[i].bits != narrow<BFloat16>(wanted).bits;
  }
  CHECK(wrong == 0);
}

TEST_CASE("batch norm and a residual of another type do not go together") {
  const Tensor x =
      random_activation({2, 4, 3, 3}, 1).to_layout(backend().activation_layout);
  const Variable other(x.to_layout(x.layout(), Dtype::kBF16));
  const Tensor ones = Tensor::of({4}, {1, 1, 1, 1});
  CHECK_THROWS_WITH(
      batch_norm(Variable(x), Variable(ones), Variable(ones), fresh_state(4),
                 {.residual = other}),
      ContainsSubstring("batch_norm of f32 [2, 4, 3, 3] with a residual bf16"));
}

TEST_CASE("linear and the loss in bf16 are those of f32, rounded") {
  const std::size_t n = GENERATE(1, 7);
  const Inputs inputs{
      {random_activation({n, 37}, 1)},
      {random_activation({10, 37}, 2), random_activation({10}, 3)}};
  CHECK(distance(
            [](const std::vector<Variable>& v) {
              return linear(v[0], v[1], v[2]);
            },
            inputs) == 0);

  const Tensor labels({static_cast<std::int64_t>(n)}, Dtype::kI32);
  for (std::size_t i = 0; i < n; ++i) {
    labels.data<std::int32_t>()[i] = static_cast<std::int32_t>(i);
  }
  const Tensor logits = random_activation({n, 10}, 4);
  const auto loss = [&](Dtype dtype) {
    const Variable x(logits.to_layout(Layout::kPlain, dtype), true);
    const CrossEntropyOutput out =
        cross_entropy(x, labels, {.label_smoothing = 0.1f});
    backward(out.loss);
    return std::pair{out.read().loss, to_array(rounded(x.grad()))};
  };
  const auto [loss_bf16, gradient_bf16] = loss(Dtype::kBF16);
  const auto [loss_f32, gradient_f32] = loss(Dtype::kF32);
  CHECK(loss_bf16 == loss_f32);
  CHECK(relative_distance(gradient_bf16, gradient_f32) == 0);
}

TEST_CASE("conv2d in bf16 is that of f32 but for the order of its sums") {
  if (backend().activation_layout != Layout::kBlocked16) {
    WARN("oneDNN has no bf16 on this processor");
    return;
  }
  struct Case {
    std::size_t n, c, h, w, k, kernel, stride, padding;
    bool bias, pictures = false;
  };
  const Case s =
      GENERATE(Case{2, 3, 8, 8, 16, 3, 1, 1, false, true},   // the stem
               Case{1, 3, 15, 13, 7, 7, 2, 3, false, true},  // ImageNet's
               Case{1, 5, 7, 6, 9, 3, 1, 1, true},           // odd sizes
               Case{2, 16, 5, 5, 32, 1, 1, 0, false},        // a 1x1
               Case{2, 17, 6, 7, 3, 1, 2, 0, true},     // strided projection
               Case{1, 16, 9, 9, 16, 3, 2, 1, false},   // strided 3x3
               Case{2, 32, 8, 8, 32, 3, 1, 1, false});  // Winograd's in f32
  CAPTURE(s.n, s.c, s.h, s.w, s.k, s.kernel, s.stride, s.padding);
  Inputs inputs{{random_activation({s.n, s.c, s.h, s.w}, 1)},
                {random_activation({s.k, s.c, s.kernel, s.kernel}, 2)},
                s.pictures};
  if (s.bias) inputs.parameters.push_back(random_activation({s.k}, 3));
  // Sums that lie near the middle of two bf16 fall to either side.
  CHECK(distance(
            [&](const std::vector<Variable>& v) {
              return conv2d(v[0], v[1], s.bias ? v[2] : Variable(),
                            {.stride = s.stride, .padding = s.padding});
            },
            inputs) < 0x1p-11);
}
