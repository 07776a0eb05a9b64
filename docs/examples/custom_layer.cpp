// A layer of one's own, with its backward, checked by differences of the loss.
#include <cmath>
#include <cstdio>

#include "engine/autograd/ops.h"
#include "engine/nn/module.h"

using namespace ringlet;

// x * sigmoid(b x), and how the gradients of x and b follow from that of y.
Variable swish(const Variable& x, const Variable& b) {
  const Tensor in = x.data(), y(in.shape());  // copies share the memory
  const float slope = *b.data().data();
  const auto sigmoid = [=](float v) { return 1 / (1 + std::exp(-slope * v)); };
  for (std::size_t i = 0; i < in.count(); ++i) {
    y.data()[i] = in.data()[i] * sigmoid(in.data()[i]);
  }
  return make_result("swish", y, {x, b}, [=](const Tensor& dy) {
    GradSink dx(x), db(b);  // where the gradients go
    float sum = 0;
    for (std::size_t i = 0; i < in.count(); ++i) {
      const float v = in.data()[i], s = sigmoid(v), bend = v * (1 - s);
      dx.memory().data()[i] = dy.data()[i] * s * (1 + slope * bend);
      sum += dy.data()[i] * s * v * bend;
    }
    *db.memory().data() = sum;
    dx.deliver();
    db.deliver();
  });
}

struct Swish : Module {
  Variable b = add_parameter("b", {1});  // learned, from 1 on
  Variable forward(const Variable& x) override { return swish(x, b); }
  void reset(std::uint64_t, std::uint32_t) override { *b.data().data() = 1; }
};

int main() {
  Swish layer;
  layer.initialize(/*seed=*/1);
  const Variable x(Tensor::of({2, 3}, {-2, -1, -0.3f, 0.4f, 1, 2}), true);
  const Tensor labels = Tensor::zeros({2}, Dtype::kI32);  // both of class 0
  auto loss = [&] { return cross_entropy(layer.forward(x), labels).loss; };
  backward(loss());

  constexpr float kStep = 1.0f / 64;
  for (const Variable& input : {x, layer.b}) {
    for (std::size_t i = 0; i < input.data().count(); ++i) {
      float& number = input.data().data()[i];
      number += kStep;
      const double above = loss().data().item();
      number -= 2 * kStep;
      const double below = loss().data().item();
      number += kStep;
      std::printf("backward %9.6f  differences %9.6f\n", input.grad().data()[i],
                  (above - below) / (2 * kStep));
    }
  }
}
