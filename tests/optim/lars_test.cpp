#include <cmath>
#include <random>

#include "engine/optim/sgd.h"
#include "kernels/runtime/error.h"
#include "support/catch.h"

using namespace ringlet;

namespace {

// A matrix, a vector and a matrix of zeros, with random gradients.
struct Parameters {
  std::mt19937 random{11};
  std::vector<Variable> all{make({30, 40}, 2), make({50}, 1), make({4, 4}, 0)};
  ParameterArena arena{all};

  Variable make(Shape shape, float size) {
    std::normal_distribution<float> normal;
    std::vector<float> values(element_count(shape));
    for (float& value : values) value = size * normal(random);
    return Variable(Tensor::of(std::move(shape), values), true);
  }
  void draw_gradients(float size) {
    std::normal_distribution<float> normal;
    for (std::size_t i = 0; i < arena.count(); ++i) {
      arena.gradients()[i] = size * normal(random);
    }
  }
};

// One parameter by the formula of NVIDIA Apex's LARC without clipping, followed
// by torch.optim.SGD without decay, in double precision.
struct Expected {
  std::vector<double> value, momentum;
  bool adapted;

  void step(const float* gradient, const SgdOptions& o, double lr,
            double scale) {
    double values = 0, gradients = 0;
    for (std::size_t i = 0; i < value.size(); ++i) {
      values += value[i] * value[i];
      gradients += std::pow(scale * gradient[i], 2);
    }
    values = std::sqrt(values);
    gradients = std::sqrt(gradients);
    const bool changed = adapted && values > 0 && gradients > 0;
    const double decay = changed ? o.weight_decay : 0;
    const double ratio =
        changed ? o.trust * values / (gradients + decay * values) : 1;
    for (std::size_t i = 0; i < value.size(); ++i) {
      const double g = ratio * (scale * gradient[i] + decay * value[i]);
      momentum[i] = o.momentum * momentum[i] + g;
      value[i] -= lr * momentum[i];
    }
  }
};

}  // namespace

TEST_CASE("LARS agrees with its formula in double precision") {
  const bool spares = GENERATE(true, false);
  const float scale = GENERATE(1.0f, 0.125f);
  Parameters parameters;
  const SgdOptions options{.momentum = 0.9f,
                           .weight_decay = 1e-2f,
                           .no_decay_bn_bias = spares,
                           .trust = 0.02f};
  SGD sgd(parameters.arena, options);
  std::vector<Expected> expected;
  for (const ParameterArena::Slot& slot : parameters.arena.slots()) {
    const std::vector<float> values = slot.parameter.data().to_vector();
    expected.push_back({{values.begin(), values.end()},
                        std::vector<double>(values.size()),
                        !spares || slot.count != 50});
  }
  for (int step = 0; step < 4; ++step) {
    parameters.draw_gradients(0.3f);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const std::size_t begin = parameters.arena.slots()[i].begin;
      expected[i].step(parameters.arena.gradients() + begin, options, 0.5,
                       scale);
    }
    sgd.step(0.5f, scale);
  }
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const std::vector<float> got =
        parameters.arena.slots()[i].parameter.data().to_vector();
    double worst = 0;
    for (std::size_t j = 0; j < got.size(); ++j) {
      worst = std::max(worst, std::abs(got[j] - expected[i].value[j]));
    }
    INFO("parameter " << i);
    CHECK(worst < 2e-6);
  }
}

TEST_CASE("a gradient of zero is no reason to divide by it") {
  Parameters parameters;
  SGD sgd(parameters.arena,
          {.momentum = 0, .weight_decay = 0.1f, .trust = 0.02f});
  parameters.draw_gradients(0);
  const std::vector<float> before = parameters.arena.flat_values().to_vector();
  sgd.step(1);
  CHECK((parameters.arena.flat_values().to_vector() == before));
}
