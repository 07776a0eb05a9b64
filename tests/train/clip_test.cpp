#include <cmath>

#include "engine/data/synthetic.h"
#include "engine/train/trainer.h"
#include "kernels/runtime/threads.h"
#include "models/resnet.h"
#include "support/catch.h"
#include "support/spawn_ranks.h"

using namespace ringlet;
using namespace ringlet::testing;

namespace {

struct Step {
  std::vector<double> change;  // of all parameters, over minus the rate
  double norm = 0;             // as it was told
};

// One step of plain gradient descent.
Step step(double clip_norm, int ranks) {
  static const Dataset data = make_synthetic(24, 5);
  Step result;
  spawn_ranks(ranks, [&](Communicator& communicator) {
    set_kernel_threads(1);
    TrainOptions options;
    options.batch_size = 24;
    options.steps = 1;
    options.lr = 0.125;
    options.schedule = "constant";
    options.momentum = options.weight_decay = 0;
    options.clip_norm = clip_norm;
    const auto model = make_resnet("resnet20", {});
    model->initialize(1);
    Trainer trainer(options,
                    make_plan(options, 24, static_cast<std::size_t>(ranks)),
                    *model, data, communicator);
    const Tensor values = trainer.parallel().arena().flat_values();
    const std::vector<float> before = values.to_vector();
    TrainObserver observer;
    if (communicator.rank() > 0) {
      trainer.run(observer);
      return;
    }
    observer.step = [&](const StepResult& r) { result.norm = r.gradient_norm; };
    trainer.run(observer);
    const std::vector<float> after = values.to_vector();
    for (std::size_t i = 0; i < before.size(); ++i) {
      result.change.push_back(
          (static_cast<double>(before[i]) - static_cast<double>(after[i])) /
          options.lr);
    }
  });
  return result;
}

double norm_of(const std::vector<double>& values) {
  double squares = 0;
  for (const double value : values) squares += value * value;
  return std::sqrt(squares);
}

}  // namespace

TEST_CASE("the gradient's norm is that of all parameters over all ranks") {
  const int ranks = GENERATE(1, 3);
  const Step free = step(0, ranks);
  CHECK(free.norm == Approx(norm_of(free.change)).epsilon(1e-4));
  CHECK(free.norm > 0.1);

  const double most = free.norm / 5;
  const Step clipped = step(most, ranks);
  CHECK(clipped.norm == free.norm);
  CHECK(norm_of(clipped.change) == Approx(most).epsilon(1e-4));
  double worst = 0;
  for (std::size_t i = 0; i < free.change.size(); ++i) {
    worst = std::max(worst, std::abs(clipped.change[i] - free.change[i] / 5));
  }
  // Values of one are rounded to 2^-24, and an eighth of the change is theirs.
  CHECK(worst < 2e-6);

  CHECK((step(2 * free.norm, ranks).change == free.change));
}
