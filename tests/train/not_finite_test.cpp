// Steps whose loss or gradient holds a NaN or an infinity.

#include <cstring>
#include <limits>

#include "engine/data/synthetic.h"
#include "engine/train/trainer.h"
#include "kernels/runtime/check.h"
#include "kernels/runtime/threads.h"
#include "models/resnet.h"
#include "support/catch.h"
#include "support/spawn_ranks.h"

using namespace ringlet;
using namespace ringlet::testing;

namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

enum class Place { kInput, kGradient };

struct Poison {
  Place place;
  float value;
  int rank;
  std::size_t first_step, last_step;
};

// The identity, whose gradient is poisoned.
Variable poisoned_gradient(const Variable& x, float value) {
  return make_result("poison", x.data(), {x}, [=](const Tensor& dy) {
    GradSink dx(x);
    dx.memory().copy_from(dy);
    dx.memory().data()[0] = value;
    dx.deliver();
  });
}

class PoisonedModel final : public Module {
 public:
  PoisonedModel(const Poison& poison, int rank)
      : poison_(poison), rank_(rank), net_(make_resnet("resnet20", {})) {
    add_module("net", *net_);
    initialize(1);
  }

  Variable forward(const Variable& x) override {
    if (!training()) return net_->forward(x);
    ++step_;
    const bool now = rank_ == poison_.rank && step_ >= poison_.first_step &&
                     step_ <= poison_.last_step;
    if (!now) return net_->forward(x);
    if (poison_.place == Place::kInput) {
      x.data().data()[0] = poison_.value;
      return net_->forward(x);
    }
    return poisoned_gradient(net_->forward(x), poison_.value);
  }

 private:
  Poison poison_;
  int rank_;
  std::unique_ptr<ResNet> net_;
  std::size_t step_ = 0;
};

std::vector<std::byte> bits_of(const Module& model, const SGD& optimizer) {
  std::vector<std::byte> bits;
  const auto add = [&](const Tensor& tensor) {
    const auto* data = static_cast<const std::byte*>(tensor.raw());
    bits.insert(bits.end(), data, data + tensor.bytes());
  };
  for (const auto& [name, tensor] : model.state()) add(tensor);
  add(optimizer.momentum());
  return bits;
}

struct Step {
  std::vector<std::byte> bits;  // of parameters, buffers and momentum
  bool skipped;
  double loss;
};

// For each rank, its steps.
std::vector<std::vector<Step>> train(const Poison& poison, int ranks,
                                     std::size_t steps) {
  const Dataset data = make_synthetic(120, 10);
  std::vector<std::vector<Step>> result(static_cast<std::size_t>(ranks));
  spawn_ranks(ranks, [&](Communicator& communicator) {
    set_kernel_threads(1);
    TrainOptions options;
    options.batch_size = 6;
    options.steps = steps;
    options.schedule = "constant";
    PoisonedModel model(poison, communicator.rank());
    Trainer trainer(options,
                    make_plan(options, data.train.count(), std::size_t(ranks)),
                    model, data, communicator);
    auto& mine = result[static_cast<std::size_t>(communicator.rank())];
    TrainObserver observer;
    observer.step = [&](const StepResult& step) {
      mine.push_back(
          {bits_of(model, trainer.optimizer()), step.skipped, step.loss});
    };
    trainer.run(observer);
  });
  return result;
}

}  // namespace

TEST_CASE("a step that is not finite changes nothing on any rank") {
  const Place place = GENERATE(Place::kInput, Place::kGradient);
  const float value = GENERATE(values({kNan, kInfinity, -kInfinity}));
  const Poison poison{place, value, 1, 2, 3};

  for (const std::vector<Step>& steps : train(poison, 3, 5)) {
    REQUIRE(steps.size() == 5);
    CHECK((!steps[0].skipped && steps[1].skipped && steps[2].skipped));
    CHECK((!steps[3].skipped && !steps[4].skipped));
    CHECK((steps[1].bits == steps[0].bits));
    CHECK((steps[2].bits == steps[0].bits));
    CHECK((steps[3].bits != steps[0].bits));
    CHECK(std::isfinite(steps[4].loss));
    CHECK(std::isfinite(steps[1].loss) == (place == Place::kGradient));
  }
}

TEST_CASE("too many in a row end the run, naming the layer and the rank") {
  const Poison poison{Place::kGradient, kNan, 1, 3, 1000};
  CHECK_THROWS_WITH(
      train(poison, 2, 100),
      ContainsSubstring("20 steps in a row") && ContainsSubstring("step 22;") &&
          ContainsSubstring("the gradient of 'net.fc.bias' on rank 1:"));
}

TEST_CASE("fewer in a row do not") {
  const Poison poison{Place::kInput, kNan, 0, 2, kMostSkipped};
  CHECK(train(poison, 1, kMostSkipped + 2).front().size() == kMostSkipped + 2);
}
