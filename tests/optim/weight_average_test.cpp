#include "engine/optim/weight_average.h"

#include <cmath>
#include <random>

#include "support/catch.h"

using namespace ringlet;

namespace {

// Parameters and buffers that change at random.
struct Model {
  std::mt19937 random{5};
  std::vector<Variable> parameters{Variable(Tensor::zeros({30, 41}), true),
                                   Variable(Tensor::zeros({7}), true)};
  ParameterArena arena{parameters};
  Tensor buffers = Tensor::zeros({9});
  Tensor batches = Tensor::zeros({}, Dtype::kI64);

  void change() {
    std::normal_distribution<float> normal;
    for (const Tensor& part : {arena.flat_values(), buffers}) {
      for (std::size_t i = 0; i < part.count(); ++i) {
        part.data()[i] = normal(random);
      }
    }
    ++*batches.data<std::int64_t>();
  }

  WeightAverage::NamedState state() const {
    return {{"weight", parameters[0].data()},
            {"bias", parameters[1].data()},
            {"mean", Tensor({4}, Dtype::kF32, Layout::kPlain, buffers.buffer(),
                            5 * sizeof(float))},
            {"batches", batches}};
  }

  std::vector<std::vector<float>> values() const {
    std::vector<std::vector<float>> values;
    for (const auto& [name, tensor] : state()) {
      if (tensor.dtype() == Dtype::kF32) values.push_back(tensor.to_vector());
    }
    return values;
  }
};

double largest_distance(const WeightAverage::NamedState& got,
                        const std::vector<std::vector<double>>& expected) {
  double largest = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const std::vector<float> values = got[i].second.to_vector();
    for (std::size_t j = 0; j < values.size(); ++j) {
      largest = std::max(largest, std::abs(values[j] - expected[i].at(j)));
    }
  }
  return largest;
}

}  // namespace

TEST_CASE("an average of weights agrees with its formula in double precision") {
  const double decay = GENERATE(0.5, 0.984375);
  Model model;
  model.change();
  const WeightAverage average(model.arena, model.buffers, decay);
  std::vector<std::vector<double>> expected;
  for (const auto& values : model.values()) {
    expected.emplace_back(values.begin(), values.end());
  }
  for (int step = 0; step < 20; ++step) {
    model.change();
    const SgdStep told{.lr = 1, .skip = step % 5 == 3 ? 1u : 0u};
    average.update(step % 2 == 0 ? nullptr : &told);
    if (step % 2 == 1 && told.skip == 1) continue;
    const auto values = model.values();
    for (std::size_t i = 0; i < values.size(); ++i) {
      for (std::size_t j = 0; j < values[i].size(); ++j) {
        expected[i][j] = decay * expected[i][j] +
                         (1 - decay) * static_cast<double>(values[i][j]);
      }
    }
  }
  const WeightAverage::NamedState state = average.state(model.state());
  CHECK(largest_distance(state, expected) < 1e-6);
  CHECK(state[0].second.shape() == Shape{30, 41});
  // Counts are the model's own.
  CHECK(state[3].second.data<std::int64_t>() ==
        model.batches.data<std::int64_t>());
}

TEST_CASE("averages and weights can change places, and back") {
  Model model;
  const WeightAverage average(model.arena, model.buffers, 0.9);
  model.change();
  average.update();
  const auto values = model.values();
  std::vector<std::vector<float>> averages;
  for (const auto& [name, tensor] : average.state(model.state())) {
    if (tensor.dtype() == Dtype::kF32) averages.push_back(tensor.to_vector());
  }
  REQUIRE((averages != values));
  average.swap();
  CHECK((model.values() == averages));
  average.swap();
  CHECK((model.values() == values));
  average.start();
  CHECK((average.state(model.state())[0].second.to_vector() == values[0]));
}
