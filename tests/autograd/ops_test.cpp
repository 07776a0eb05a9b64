#include "engine/autograd/ops.h"

#include <limits>

#include "kernels/backend.h"
#include "support/catch.h"
#include "support/gradcheck.h"

using namespace ringlet;
using namespace ringlet::testing;

namespace {

// What single precision leaves of sums of a few hundred products.
constexpr double kTolerance = 2e-5;

// Winograd's transforms multiply by constants up to 32.
constexpr double kWinogradTolerance = 2e-4;

BatchNormState fresh_state(std::size_t channels) {
  const auto c = static_cast<std::int64_t>(channels);
  BatchNormState state;
  state.running_mean = Tensor::zeros({c});
  state.running_var = Tensor::of({c}, std::vector<float>(channels, 1.0f));
  return state;
}

struct ConvCase {
  std::size_t n, c, h, w, k, kernel_h, kernel_w, stride, padding;
  bool bias;
};

}  // namespace

TEST_CASE("conv2d agrees with the float64 reference") {
  const ConvCase s = GENERATE(
      ConvCase{2, 3, 8, 8, 16, 3, 3, 1, 1, false},   // the stem
      ConvCase{1, 5, 7, 6, 9, 3, 3, 1, 1, true},     // odd sizes
      ConvCase{2, 16, 5, 5, 32, 1, 1, 1, 0, false},  // a 1x1
      ConvCase{2, 17, 6, 7, 3, 1, 1, 2, 0, true},    // strided projection
      ConvCase{1, 16, 9, 9, 16, 3, 3, 2, 1, false},  // strided 3x3
      ConvCase{1, 3, 15, 13, 7, 7, 7, 2, 3, false},  // the ImageNet stem
      ConvCase{1, 4, 6, 5, 6, 2, 3, 1, 0, true},     // not square
      ConvCase{3, 1, 1, 1, 1, 1, 1, 1, 0, true});    // the smallest
  CAPTURE(s.n, s.c, s.h, s.w, s.k, s.kernel_h, s.stride, s.padding);
  const bool plain_input = s.c == 3;
  std::vector<Array> inputs{
      random_array({s.n, s.c, s.h, s.w}, 1),
      random_array({s.k, s.c, s.kernel_h, s.kernel_w}, 2)};
  if (s.bias) inputs.push_back(random_array({s.k}, 3));
  const auto result = gradcheck(
      [&](const std::vector<Variable>& v) {
        return conv2d(v[0], v[1], s.bias ? v[2] : Variable(),
                      {.stride = s.stride, .padding = s.padding});
      },
      [&](const std::vector<Array>& a) {
        return reference_conv2d(a[0], a[1], s.bias ? &a[2] : nullptr, s.stride,
                                s.padding);
      },
      inputs,
      plain_input ? std::vector<std::size_t>{0, 1}
                  : std::vector<std::size_t>{1});
  CHECK(result.worst() < kTolerance);
}

TEST_CASE("conv2d by Winograd agrees with the float64 reference") {
  const std::size_t size = GENERATE(8, 11);
  const auto result = gradcheck(
      [](const std::vector<Variable>& v) {
        return conv2d(v[0], v[1], {}, {.stride = 1, .padding = 1});
      },
      [](const std::vector<Array>& a) {
        return reference_conv2d(a[0], a[1], nullptr, 1, 1);
      },
      {random_array({1, 32, size, size}, 1), random_array({32, 32, 3, 3}, 2)},
      {1});
  CHECK(result.worst() < kWinogradTolerance);
}

TEST_CASE("the table's convolutions take Winograd, the others do not") {
  // Rounding tells the algorithms apart; below AVX-512 there is only one.
  const auto run = [](std::size_t n, std::size_t size,
                      ConvAlgorithm algorithm) {
    set_conv_algorithm(algorithm);
    const NoGradGuard no_grad;
    const Variable y =
        conv2d(activation(random_array({n, 32, size, size}, 1)),
               Variable(to_tensor(random_array({32, 32, 3, 3}, 2))), {},
               {.stride = 1, .padding = 1});
    set_conv_algorithm(ConvAlgorithm::kAutomatic);
    return y.data().to_vector();
  };
  const bool avx512 = backend().activation_layout == Layout::kBlocked16;
  // Of 32 tiles of 4x4 outputs and more, here 8 x 2 x 2 and 32 x 1 x 1.
  for (const auto& [n, size] :
       {std::pair<std::size_t, std::size_t>{8, 8}, {32, 4}, {7, 8}, {31, 4}}) {
    const auto automatic = run(n, size, ConvAlgorithm::kAutomatic);
    const auto winograd = run(n, size, ConvAlgorithm::kWinograd);
    const auto direct = run(n, size, ConvAlgorithm::kDirect);
    INFO(n << " of " << size);
    CHECK((winograd != direct) == avx512);
    CHECK(automatic == (n % 8 == 0 ? winograd : direct));
  }
}

namespace {

// Whether all lanes of a blocked tensor beyond its channels are zero.
bool padding_is_zero(const Tensor& tensor) {
  const std::size_t block = block_of(tensor.layout());
  const auto dim = [&](std::size_t axis) {
    return static_cast<std::size_t>(tensor.dim(axis));
  };
  const std::size_t blocks = round_up(dim(1), block) / block;
  const std::size_t tile = dim(2) * dim(3) * block;
  for (std::size_t i = 0; i < tensor.storage_count(); ++i) {
    const std::size_t channel = i / tile % blocks * block + i % block;
    if (channel >= dim(1) && tensor.data()[i] != 0) return false;
  }
  return true;
}

}  // namespace

TEST_CASE("every op keeps the padding of a blocked layout zero") {
  const std::size_t channels = GENERATE(5, 17);
  const std::vector<std::size_t> shape{2, channels, 6, 6};
  // Memory that was used before holds anything but zeros.
  for (int i = 0; i < 20; ++i) {
    Tensor used({2, static_cast<std::int64_t>(channels), 6, 6}, Dtype::kF32,
                backend().activation_layout);
    std::fill_n(used.data(), used.storage_count(), 7.0f);
  }
  const Variable x = activation(random_array(shape, 1));
  CHECK(padding_is_zero(x.data()));
  const Variable gamma(to_tensor(random_array({channels}, 2)), true);
  const Variable beta(to_tensor(random_array({channels}, 3)), true);
  const Variable weight(to_tensor(random_array({channels, channels, 3, 3}, 4)),
                        true);
  const Variable convolved = conv2d(x, weight, beta, {1, 1});
  const Variable normal =
      batch_norm(convolved, gamma, beta, fresh_state(channels),
                 {.relu = true, .residual = x});
  const Variable sum = add(relu(normal), x);
  const Variable pooled = max_pool2d(sum, {3, 2, 1});
  for (const Variable& y : {convolved, normal, sum, pooled}) {
    CHECK(padding_is_zero(y.data()));
  }
  Tensor labels = Tensor::zeros({2}, Dtype::kI32);
  backward(cross_entropy(global_average_pool(pooled), labels).loss);
  CHECK(padding_is_zero(x.grad()));
}

TEST_CASE("batch_norm agrees with the float64 reference") {
  const bool with_residual = GENERATE(false, true);
  const bool relu = GENERATE(false, true);
  const auto shape = GENERATE(std::vector<std::size_t>{4, 16, 3, 3},
                              std::vector<std::size_t>{3, 5, 4, 5},
                              std::vector<std::size_t>{2, 33, 1, 1},
                              std::vector<std::size_t>{1, 8, 2, 7});
  CAPTURE(with_residual, relu, shape);
  Array x = random_array(shape, 1);
  for (double& value : x.values) value = static_cast<float>(value * 3 + 5);
  std::vector<Array> inputs{x, random_array({shape[1]}, 2),
                            random_array({shape[1]}, 3)};
  if (with_residual) inputs.push_back(random_array(shape, 4));
  const BatchNormState state = fresh_state(shape[1]);
  const auto result = gradcheck(
      [&](const std::vector<Variable>& v) {
        return batch_norm(
            v[0], v[1], v[2], state,
            {.relu = relu, .residual = with_residual ? v[3] : Variable()});
      },
      [&](const std::vector<Array>& a) {
        return reference_batch_norm(a[0], a[1], a[2],
                                    with_residual ? &a[3] : nullptr, relu,
                                    static_cast<double>(state.eps));
      },
      inputs);
  // Two samples per channel normalise to +-1 whatever they are: the gradient
  // by x is then a difference of near equals.
  const bool degenerate = shape[0] * shape[2] * shape[3] == 2;
  CHECK(result.worst() < (degenerate ? 2e-3 : kTolerance));
}

TEST_CASE("batch_norm updates and uses the running statistics") {
  const Array x = random_array({4, 3, 2, 2}, 1);
  const BatchNormState state = fresh_state(3);
  const Variable gamma(Tensor::of({3}, {1, 2, 3}));
  const Variable beta(Tensor::of({3}, {0, 1, -1}));
  batch_norm(activation(x), gamma, beta, state, {});
  for (std::size_t c = 0; c < 3; ++c) {
    double mean = 0, squares = 0;
    for (std::size_t n = 0; n < 4; ++n) {
      for (std::size_t p = 0; p < 4; ++p) {
        mean += x.at(n, c, p / 2, p % 2) / 16;
      }
    }
    for (std::size_t n = 0; n < 4; ++n) {
      for (std::size_t p = 0; p < 4; ++p) {
        const double d = x.at(n, c, p / 2, p % 2) - mean;
        squares += d * d;
      }
    }
    CHECK(state.running_mean.data()[c] == Approx(0.1 * mean).epsilon(1e-5));
    CHECK(state.running_var.data()[c] ==
          Approx(0.9 + 0.1 * squares / 15).epsilon(1e-5));
  }

  const NoGradGuard no_grad;
  const Array y = to_array(
      batch_norm(activation(x), gamma, beta, state, {.training = false})
          .data());
  const double mean = state.running_mean.data()[1];
  const double std = std::sqrt(state.running_var.data()[1] + 1e-5);
  CHECK(y.at(2, 1, 1, 0) ==
        Approx((x.at(2, 1, 1, 0) - mean) / std * 2 + 1).epsilon(1e-5));
}

TEST_CASE("relu, add and pools agree with the float64 reference") {
  const std::vector<std::size_t> shape{2, 5, 7, 6};
  const std::vector<Array> one{random_array(shape, 1)};
  CHECK(gradcheck([](auto& v) { return relu(v[0]); },
                  [](auto& a) { return reference_relu(a[0]); }, one)
            .worst() < kTolerance);
  CHECK(gradcheck([](auto& v) { return global_average_pool(v[0]); },
                  [](auto& a) { return reference_average_pool(a[0]); }, one)
            .worst() < kTolerance);
  CHECK(gradcheck([](auto& v) { return add(v[0], v[1]); },
                  [](auto& a) {
                    Array sum = a[0];
                    for (std::size_t i = 0; i < sum.count(); ++i) {
                      sum.values[i] += a[1].values[i];
                    }
                    return sum;
                  },
                  {random_array(shape, 1), random_array(shape, 2)})
            .worst() < kTolerance);

  const auto pool = GENERATE(MaxPoolOptions{3, 2, 1}, MaxPoolOptions{2, 2, 0},
                             MaxPoolOptions{3, 1, 0}, MaxPoolOptions{1, 1, 0});
  CAPTURE(pool.kernel, pool.stride, pool.padding);
  CHECK(gradcheck([&](auto& v) { return max_pool2d(v[0], pool); },
                  [&](auto& a) {
                    return reference_max_pool(a[0], pool.kernel, pool.stride,
                                              pool.padding);
                  },
                  one)
            .worst() < kTolerance);
}

TEST_CASE("max_pool of -infinity sends its gradient into the picture") {
  Array x({1, 1, 3, 3});
  for (double& value : x.values) {
    value = -std::numeric_limits<double>::infinity();
  }
  const Variable input = activation(x);
  const Variable y = max_pool2d(input, {3, 2, 1});
  backward(make_result("ones", Tensor::of({}, {0}), {y}, [&](const Tensor&) {
    GradSink dy(y);
    std::fill_n(dy.memory().data(), y.data().storage_count(), 1.0f);
    dy.deliver();
  }));
  CHECK(to_array(input.grad()).values ==
        std::vector<double>{1, 1, 0, 1, 1, 0, 0, 0, 0});
}

TEST_CASE("what does not fit together is refused with the shapes") {
  const Variable x = activation(random_array({1, 3, 4, 4}, 1));
  const Variable weight(to_tensor(random_array({2, 5, 3, 3}, 1)));
  CHECK_THROWS_WITH(conv2d(x, weight, {}, {}),
                    ContainsSubstring("conv2d of [1, 3, 4, 4]"));
  CHECK_THROWS_WITH(max_pool2d(x, {5, 1, 0}), ContainsSubstring("kernel 5"));
  CHECK_THROWS_WITH(max_pool2d(x, {2, 0, 0}), ContainsSubstring("stride 0"));
  const Variable one(Tensor::of({1}, {1}));
  CHECK_THROWS_WITH(batch_norm(activation(random_array({1, 1, 1, 1}, 1)), one,
                               one, fresh_state(1), {}),
                    ContainsSubstring("one value per channel"));
}

TEST_CASE("linear agrees with the float64 reference") {
  const std::size_t n = GENERATE(1, 7);
  const std::size_t in = GENERATE(13, 35);  // less than a vector, and more
  CHECK(gradcheck([](auto& v) { return linear(v[0], v[1], v[2]); },
                  [](auto& a) { return reference_linear(a[0], a[1], a[2]); },
                  {random_array({n, in}, 1), random_array({5, in}, 2),
                   random_array({5}, 3)})
            .worst() < kTolerance);
}

TEST_CASE("cross_entropy agrees with the float64 reference") {
  const float smoothing = GENERATE(0.0f, 0.1f);
  const std::size_t global_batch = GENERATE(0, 12);
  const std::vector<std::int32_t> labels{3, 0, 6};
  Tensor label_tensor({3}, Dtype::kI32);
  std::copy(labels.begin(), labels.end(), label_tensor.data<std::int32_t>());
  Array logits = random_array({3, 7}, 1);
  for (double& value : logits.values) value = static_cast<float>(value * 20);
  const auto result = gradcheck(
      [&](const std::vector<Variable>& v) {
        return cross_entropy(
                   v[0], label_tensor,
                   {.label_smoothing = smoothing, .global_batch = global_batch})
            .loss;
      },
      [&](const std::vector<Array>& a) {
        Array loss(std::vector<std::size_t>{});
        loss.values = {reference_cross_entropy(
            a[0], labels, static_cast<double>(smoothing),
            global_batch ? static_cast<double>(global_batch) : 3.0)};
        return loss;
      },
      {logits});
  CHECK(result.worst() < kTolerance);
}

TEST_CASE("cross_entropy of two labels is the mean of both, by their shares") {
  const float share = GENERATE(0.0f, 0.3f, 1.0f);
  const float smoothing = GENERATE(0.0f, 0.1f);
  const std::vector<std::int32_t> labels{3, 0, 6}, others{3, 5, 1};
  const auto tensor_of = [](const std::vector<std::int32_t>& values) {
    Tensor tensor({3}, Dtype::kI32);
    std::copy(values.begin(), values.end(), tensor.data<std::int32_t>());
    return tensor;
  };
  Array logits = random_array({3, 7}, 1);
  for (double& value : logits.values) value = static_cast<float>(value * 5);
  const CrossEntropyOptions options{.other_labels = tensor_of(others),
                                    .share = Tensor::of({}, {share}),
                                    .label_smoothing = smoothing};
  const auto result = gradcheck(
      [&](const std::vector<Variable>& v) {
        return cross_entropy(v[0], tensor_of(labels), options).loss;
      },
      [&](const std::vector<Array>& a) {
        const auto loss_of = [&](const std::vector<std::int32_t>& wanted) {
          return reference_cross_entropy(a[0], wanted,
                                         static_cast<double>(smoothing), 3.0);
        };
        const auto part = static_cast<double>(share);
        Array loss(std::vector<std::size_t>{});
        loss.values = {part * loss_of(labels) + (1 - part) * loss_of(others)};
        return loss;
      },
      {logits});
  CHECK(result.worst() < kTolerance);
  const Variable x(to_tensor(logits));
  CHECK(cross_entropy(x, tensor_of(labels), options).read().correct ==
        cross_entropy(x, tensor_of(labels)).read().correct);
  CHECK_THROWS_WITH(
      cross_entropy(x, tensor_of(labels),
                    {.other_labels = tensor_of({0, 7, 0}),
                     .share = Tensor::of({}, {share})})
          .read(),
      ContainsSubstring("sample 1 has label 0 and 7, expected 0 to 6"));
}

TEST_CASE("cross_entropy counts hits and survives huge logits") {
  Tensor labels({2}, Dtype::kI32);
  labels.data<std::int32_t>()[0] = 1;
  labels.data<std::int32_t>()[1] = 0;
  const Variable logits(Tensor::of({2, 2}, {-1e30f, 1e30f, -5, 5}), true);
  const CrossEntropyOutput out = cross_entropy(logits, labels);
  CHECK(out.read().correct == 1);
  CHECK(out.read().loss == Approx(5.0000227));
  CHECK(out.loss.data().item() == out.read().loss);
  labels.data<std::int32_t>()[1] = 2;
  CHECK_THROWS_WITH(cross_entropy(logits, labels).read(),
                    ContainsSubstring("sample 1 has label 2, expected 0 to 1"));
}

TEST_CASE("NaN passes through relu, pooling and batch_norm") {
  Array x = random_array({1, 1, 2, 2}, 1);
  x.values[2] = std::nan("");
  const auto has_nan = [](const Variable& y) {
    for (const float value : y.data().to_vector()) {
      if (std::isnan(value)) return true;
    }
    return false;
  };
  CHECK(has_nan(relu(activation(x))));
  CHECK(has_nan(max_pool2d(activation(x), {2, 1, 0})));
  CHECK(has_nan(global_average_pool(activation(x))));
  const Variable one(Tensor::of({1}, {1}));
  CHECK(has_nan(
      batch_norm(activation(x), one, one, fresh_state(1), {.relu = true})));
}
