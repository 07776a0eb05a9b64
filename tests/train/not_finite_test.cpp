// Steps whose loss or gradient holds a NaN or an infinity.

#include <fmt/format.h>

#include <cstring>
#include <limits>

#include "engine/data/synthetic.h"
#include "engine/nn/layers.h"
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
    std::fill_n(dx.memory().data(), dx.memory().storage_count(), value);
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

// A gradient of NaN at the output of one of some layers, on one rank or virtual
// rank, in some steps.
struct Plant {
  std::size_t rank, layer, first_step, last_step;
};

class PlantedModel final : public Module {
 public:
  static constexpr std::size_t kLayers = 3;

  // The rank goes through `shards` parts of its batch in each step.
  PlantedModel(const Plant& plant, std::size_t rank, std::size_t shards)
      : plant_(plant), first_(rank * shards), shards_(shards) {
    for (std::size_t i = 0; i < kLayers; ++i) {
      convs_.push_back(std::make_unique<Conv2d>(Conv2dConfig{
          .in = i == 0 ? 3u : 4u, .out = 4, .kernel = 3, .padding = 1}));
      norms_.push_back(std::make_unique<BatchNorm2d>(4));
      add_module(fmt::format("conv{}", i), *convs_.back());
      add_module(fmt::format("norm{}", i), *norms_.back());
    }
    add_module("fc", fc_);
    initialize(1);
  }

  Variable forward(const Variable& x) override {
    const std::size_t step = forwards_ / shards_ + 1;
    const bool now = training() && step >= plant_.first_step &&
                     step <= plant_.last_step &&
                     first_ + forwards_ % shards_ == plant_.rank;
    if (training()) ++forwards_;
    Variable y = x;
    for (std::size_t i = 0; i < kLayers; ++i) {
      y = norms_[i]->forward_relu(convs_[i]->forward(y));
      if (now && i == plant_.layer) y = poisoned_gradient(y, kNan);
    }
    return fc_.forward(global_average_pool(y));
  }

 private:
  Plant plant_;
  std::size_t first_, shards_, forwards_ = 0;
  std::vector<std::unique_ptr<Conv2d>> convs_;
  std::vector<std::unique_ptr<BatchNorm2d>> norms_;
  Linear fc_{4, 10};
};

struct Step {
  std::vector<std::byte> bits;  // of parameters, buffers and momentum
  bool skipped;
  double loss;
};

using Steps = std::vector<Step>;

// For each rank, its steps. `make` makes a rank's model.
template <typename Make>
std::vector<Steps> train(Make make, std::size_t ranks, std::size_t steps,
                         std::size_t virtual_ranks = 0) {
  static const Dataset data = make_synthetic(120, 10);
  std::vector<Steps> result(ranks);
  const auto body = [&](Communicator& communicator) {
    set_kernel_threads(1);
    TrainOptions options;
    options.batch_size = 6;
    options.steps = steps;
    options.schedule = "constant";
    options.virtual_ranks = virtual_ranks;
    const auto rank = static_cast<std::size_t>(communicator.rank());
    const TrainPlan plan = make_plan(options, data.train.count(), ranks);
    const auto model = make(rank, plan.shards);
    Trainer trainer(options, plan, *model, data, communicator);
    TrainObserver observer;
    observer.step = [&](const StepResult& step) {
      result[rank].push_back(
          {bits_of(*model, trainer.optimizer()), step.skipped, step.loss});
    };
    trainer.run(observer);
  };
  spawn_ranks(static_cast<int>(ranks), body, {},
              virtual_ranks > 0 ? "ordered" : "ring");
  return result;
}

std::vector<Steps> train(const Poison& poison, std::size_t ranks,
                         std::size_t steps) {
  return train(
      [&](std::size_t rank, std::size_t) {
        return std::make_unique<PoisonedModel>(poison, static_cast<int>(rank));
      },
      ranks, steps);
}

std::vector<Steps> train(const Plant& plant, std::size_t ranks,
                         std::size_t steps, std::size_t virtual_ranks) {
  return train(
      [&](std::size_t rank, std::size_t shards) {
        return std::make_unique<PlantedModel>(plant, rank, shards);
      },
      ranks, steps, virtual_ranks);
}

}  // namespace

TEST_CASE("a step that is not finite changes nothing on any rank") {
  const Place place = GENERATE(Place::kInput, Place::kGradient);
  const float value = GENERATE(values({kNan, kInfinity, -kInfinity}));
  const Poison poison{place, value, 1, 2, 3};

  for (const Steps& steps : train(poison, 3, 5)) {
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

TEST_CASE("a NaN in any layer, on any rank, in any step, skips that step") {
  // Ranks for themselves, and two that stand for four.
  const std::size_t virtual_ranks = GENERATE(0, 4);
  const std::size_t ranks = virtual_ranks > 0 ? 2 : 3;
  const std::size_t parts = virtual_ranks > 0 ? virtual_ranks : ranks;
  for (std::size_t layer = 0; layer < PlantedModel::kLayers; ++layer) {
    for (std::size_t rank = 0; rank < parts; ++rank) {
      const std::size_t step = 1 + (rank + layer) % 3;
      INFO(virtual_ranks << " virtual ranks; rank " << rank << " layer "
                         << layer << " step " << step);
      for (const Steps& steps :
           train(Plant{rank, layer, step, step}, ranks, 4, virtual_ranks)) {
        for (std::size_t i = 0; i < steps.size(); ++i) {
          CHECK(steps[i].skipped == (i + 1 == step));
          if (i == 0) continue;
          CHECK((steps[i].bits == steps[i - 1].bits) == (i + 1 == step));
        }
      }
    }
    const std::size_t rank = parts - 1 - layer;
    CHECK_THROWS_WITH(
        train(Plant{rank, layer, 2, 1000}, ranks, 30, virtual_ranks),
        ContainsSubstring(fmt::format(
            "first the gradient of 'norm{}.bias' on rank {}:", layer,
            rank * ranks / parts)));
  }
}
