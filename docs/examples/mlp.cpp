// A multi-layer perceptron learns to tell the three arms of a spiral apart, and
// draws what it has learned. README.md says how to build and start it.
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "engine/autograd/ops.h"
#include "engine/nn/layers.h"
#include "engine/optim/sgd.h"

using namespace ringlet;

class Mlp : public Module {
 public:
  Mlp() {
    add_module("hidden", hidden_);  // its weight: "hidden.weight"
    add_module("last", last_);
  }
  Variable forward(const Variable& x) override {  // [n, 2] -> logits [n, 3]
    return last_.forward(relu(hidden_.forward(x)));
  }

 private:
  Linear hidden_{2, 64}, last_{64, 3};
};

int main() {
  constexpr int kPoints = 300, kArms = 3, kWide = 48, kHigh = 20;
  const Tensor points({kPoints, 2}), arms({kPoints}, Dtype::kI32);  // classes
  for (int i = 0; i < kPoints; ++i) {
    const float radius = static_cast<float>(i) / kPoints;
    const float angle = 4 * radius + 2.0944f * (i % kArms);  // 2 pi / 3 apart
    points.data()[2 * i] = radius * std::cos(angle);
    points.data()[2 * i + 1] = radius * std::sin(angle);
    arms.data<std::int32_t>()[i] = i % kArms;
  }
  Mlp mlp;
  mlp.initialize(/*seed=*/1);
  const ParameterArena arena(mlp.parameters());  // with their gradients
  SGD sgd(arena, {.momentum = 0.9f});
  for (int step = 0; step <= 1000; ++step) {
    arena.zero_grad();
    const auto output = cross_entropy(mlp.forward(Variable(points)), arms);
    backward(output.loss);
    sgd.step(/*lr=*/0.3f);
    if (step % 100 > 0) continue;
    std::printf("step %4d  loss %.4f  %3ld of %d right\n", step,
                output.read().loss, output.read().correct, kPoints);
  }
  const NoGradGuard no_grad;  // nothing is remembered for a backward()
  for (int cell = 0; cell < kWide * kHigh; ++cell) {
    const float x = 2.0f * (cell % kWide) / kWide - 1;
    const float y = 1 - 2.0f * (cell / kWide) / kHigh;
    const auto logits = mlp.forward(Variable(Tensor::of({1, 2}, {x, y})));
    const float* best = logits.data().data();
    std::putchar(".o#"[std::max_element(best, best + kArms) - best]);
    if ((cell + 1) % kWide == 0) std::putchar('\n');
  }
}
