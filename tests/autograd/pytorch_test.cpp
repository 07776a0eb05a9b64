#include <nlohmann/json.hpp>

#include "engine/autograd/ops.h"
#include "engine/autograd/parameter_arena.h"
#include "engine/io/safetensors.h"
#include "engine/optim/sgd.h"
#include "kernels/runtime/check.h"
#include "support/catch.h"
#include "support/gradcheck.h"

// Every op against the values that PyTorch computed in float64
// (tests/fixtures/make_ops.py).

using namespace ringlet;
using namespace ringlet::testing;

namespace {

constexpr double kTolerance = 1e-5;

const SafetensorsFile& fixtures() {
  static const SafetensorsFile file =
      read_safetensors(std::string(RINGLET_FIXTURES) + "/ops.safetensors");
  return file;
}

struct Case {
  std::string name;
  nlohmann::json parameters;

  const Tensor* find(const std::string& tensor) const {
    return fixtures().find(name + "." + tensor);
  }
  const Tensor& get(const std::string& tensor) const {
    const Tensor* found = find(tensor);
    RINGLET_CHECK(found != nullptr, "no {}.{}", name, tensor);
    return *found;
  }
  // A leaf in the layout that the op takes; undefined where the case has none.
  Variable leaf(const std::string& tensor) const {
    const Tensor* found = find(tensor);
    if (found == nullptr) return Variable();
    const bool weights = tensor == "weight" || found->shape().size() != 4;
    return weights ? Variable(found->clone(), true)
                   : activation(to_array(*found));
  }
  double distance(const Tensor& ours, const std::string& tensor) const {
    return relative_distance(to_array(ours), to_array(get(tensor)));
  }
};

std::vector<Case> cases_of(const std::string& op) {
  std::vector<Case> cases;
  for (const auto& [name, text] : fixtures().metadata) {
    const auto parameters = nlohmann::json::parse(text);
    if (parameters.at("op") == op) cases.push_back({name, parameters});
  }
  REQUIRE(!cases.empty());
  return cases;
}

// Runs backward from sum(y * dy) and compares y and all gradients.
void check_case(const Case& test, const Variable& y,
                const std::map<std::string, Variable>& inputs) {
  CAPTURE(test.name);
  CHECK(test.distance(y.data(), "y") < kTolerance);
  const Variable loss =
      make_result("sum", Tensor::of({}, {0}), {y}, [&](const Tensor&) {
        GradSink dy(y);
        dy.memory().copy_from(test.get("dy").to_layout(y.data().layout()));
        dy.deliver();
      });
  backward(loss);
  for (const auto& [name, input] : inputs) {
    if (!input.defined()) continue;
    CAPTURE(name);
    CHECK(test.distance(input.grad(), "d" + name) < kTolerance);
  }
}

}  // namespace

TEST_CASE("conv2d equals PyTorch's") {
  for (const Case& test : cases_of("conv2d")) {
    const Variable x = test.leaf("x"), weight = test.leaf("weight"),
                   bias = test.leaf("bias");
    check_case(test,
               conv2d(x, weight, bias,
                      {.stride = test.parameters.at("stride"),
                       .padding = test.parameters.at("padding")}),
               {{"x", x}, {"weight", weight}, {"bias", bias}});
  }
}

TEST_CASE("batch_norm equals PyTorch's, in training and evaluation") {
  for (const Case& test : cases_of("batch_norm")) {
    const Variable x = test.leaf("x"), gamma = test.leaf("gamma"),
                   beta = test.leaf("beta"), residual = test.leaf("residual");
    BatchNormState state;
    state.running_mean = test.get("running_mean").clone();
    state.running_var = test.get("running_var").clone();
    const Variable y = batch_norm(x, gamma, beta, state,
                                  {.training = test.parameters.at("train"),
                                   .relu = test.parameters.at("relu"),
                                   .residual = residual});
    check_case(
        test, y,
        {{"x", x}, {"gamma", gamma}, {"beta", beta}, {"residual", residual}});
    CHECK(test.distance(state.running_mean, "running_mean_after") < kTolerance);
    CHECK(test.distance(state.running_var, "running_var_after") < kTolerance);
  }
}

TEST_CASE("pools equal PyTorch's") {
  for (const Case& test : cases_of("max_pool")) {
    const Variable x = test.leaf("x");
    check_case(test,
               max_pool2d(x, {.kernel = test.parameters.at("kernel"),
                              .stride = test.parameters.at("stride"),
                              .padding = test.parameters.at("padding")}),
               {{"x", x}});
  }
  for (const Case& test : cases_of("global_average_pool")) {
    const Variable x = test.leaf("x");
    check_case(test, global_average_pool(x), {{"x", x}});
  }
}

TEST_CASE("linear equals PyTorch's") {
  for (const Case& test : cases_of("linear")) {
    const Variable x = test.leaf("x"), weight = test.leaf("weight"),
                   bias = test.leaf("bias");
    check_case(test, linear(x, weight, bias),
               {{"x", x}, {"weight", weight}, {"bias", bias}});
  }
}

TEST_CASE("cross_entropy equals PyTorch's") {
  for (const Case& test : cases_of("cross_entropy")) {
    CAPTURE(test.name);
    const Variable logits = test.leaf("logits");
    const CrossEntropyOutput out = cross_entropy(
        logits, test.get("labels"),
        {.label_smoothing = test.parameters.at("label_smoothing")});
    CHECK(out.read().loss == Approx(test.get("loss").item()).epsilon(1e-6));
    CHECK(out.read().correct == test.get("correct").data<std::int32_t>()[0]);
    backward(out.loss);
    CHECK(test.distance(logits.grad(), "dlogits") < kTolerance);
  }
}

TEST_CASE("SGD equals PyTorch's over five steps") {
  for (const Case& test : cases_of("sgd")) {
    CAPTURE(test.name);
    const Variable parameter = test.leaf("param");
    const ParameterArena arena({parameter});
    SGD sgd(arena, {.momentum = test.parameters.at("momentum"),
                    .nesterov = test.parameters.at("nesterov"),
                    .weight_decay = test.parameters.at("weight_decay")});
    const std::size_t count = arena.count();
    for (std::size_t step = 0; step < 5; ++step) {
      std::copy_n(test.get("grads").data() + step * count, count,
                  arena.gradients());
      sgd.step(test.parameters.at("lr"));
      for (std::size_t i = 0; i < count; ++i) {
        CHECK(arena.values()[i] ==
              Approx(test.get("params").data()[step * count + i]).margin(1e-6));
      }
    }
  }
}

TEST_CASE("weight decay spares biases and batch norm where asked to") {
  const Variable weight(Tensor::of({1, 1}, {1}), true);
  const Variable bias(Tensor::of({1}, {1}), true);
  const ParameterArena arena({weight, bias});
  SGD sgd(arena, {.weight_decay = 0.5f, .no_decay_bn_bias = true});
  sgd.step(1);
  CHECK(weight.data().item() == 0.5f);
  CHECK(bias.data().item() == 1.0f);
}
