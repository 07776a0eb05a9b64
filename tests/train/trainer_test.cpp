#include "engine/train/trainer.h"

#include "engine/data/synthetic.h"
#include "engine/parallel/agreement.h"
#include "kernels/runtime/check.h"
#include "kernels/runtime/threads.h"
#include "models/resnet.h"
#include "support/catch.h"
#include "support/spawn_ranks.h"

using namespace ringlet;
using namespace ringlet::testing;

namespace {

TrainOptions small_options() {
  TrainOptions options;
  options.model = "resnet20";
  options.batch_size = 12;
  options.steps = 7;
  options.lr = 0.02;
  options.schedule = "cosine";
  options.warmup_epochs = 0;
  return options;
}

struct Run {
  std::vector<StepResult> steps;
  std::vector<EpochResult> epochs;
  std::vector<float> parameters;
};

// Trains on threads as ranks; gives what rank 0's observer was told.
Run train(const TrainOptions& options, const Dataset& data, int ranks) {
  Run run;
  spawn_ranks(ranks, [&](Communicator& communicator) {
    set_kernel_threads(1);
    const auto model = make_resnet(options.model, {});
    model->initialize(options.seed);
    const TrainPlan plan =
        make_plan(options, data.train.count(), static_cast<std::size_t>(ranks));
    Trainer trainer(options, plan, *model, data, communicator);
    TrainObserver observer;
    if (communicator.rank() == 0) {
      observer.step = [&](const StepResult& r) { run.steps.push_back(r); };
      observer.epoch = [&](const EpochResult& r) { run.epochs.push_back(r); };
    }
    trainer.run(observer);
    if (communicator.rank() > 0) return;
    for (const Variable& parameter : model->parameters()) {
      const std::vector<float> values = parameter.data().to_vector();
      run.parameters.insert(run.parameters.end(), values.begin(), values.end());
    }
  });
  return run;
}

}  // namespace

TEST_CASE("a run has its steps, epochs and evaluations") {
  const Dataset data = make_synthetic(32, 21);
  const int ranks = GENERATE(1, 3);
  const Run run = train(small_options(), data, ranks);
  REQUIRE(run.steps.size() == 7);
  // Epochs of 12 + 12 + 8 pictures; the run ends inside the third.
  const std::vector<std::size_t> images{12, 12, 8, 12, 12, 8, 12};
  for (std::size_t i = 0; i < run.steps.size(); ++i) {
    CHECK(run.steps[i].step == i + 1);
    CHECK(run.steps[i].epoch == i / 3 + 1);
    CHECK(run.steps[i].images == images[i]);
    CHECK(run.steps[i].correct <= images[i]);
    CHECK(run.steps[i].loss > 0);
    CHECK(run.steps[i].time.total() > 0);
  }
  CHECK(run.steps[0].lr == Approx(0.02));
  CHECK(run.steps[6].lr < 0.002);
  REQUIRE(run.epochs.size() == 3);
  const double loss_of_first =
      (run.steps[0].loss * 12 + run.steps[1].loss * 12 +
       run.steps[2].loss * 8) /
      32;
  CHECK(run.epochs[0].train_loss == Approx(loss_of_first));
  for (const EpochResult& epoch : run.epochs) {
    REQUIRE(epoch.validation);
    CHECK(epoch.validation->pictures == 21);
  }
}

TEST_CASE("evaluations can be rarer, but the end has one") {
  TrainOptions options = small_options();
  options.eval_every = 2;
  const Run run = train(options, make_synthetic(32, 5), 1);
  REQUIRE(run.epochs.size() == 3);
  CHECK_FALSE(run.epochs[0].validation);
  CHECK(run.epochs[1].validation);
  CHECK(run.epochs[2].validation);
}

TEST_CASE("training lowers the loss on a handful of pictures") {
  TrainOptions options = small_options();
  options.steps = 30;
  options.augment = false;
  const Run run = train(options, make_synthetic(12, 5), 2);
  CHECK(run.steps.back().loss < run.steps.front().loss / 2);
}

TEST_CASE("each option of the pictures, the loss and the optimizer counts") {
  using O = TrainOptions;
  struct Change {
    const char* name;
    bool of_loss;  // of the first step, else of the weights after two
    void (*make)(O&);
  };
  const std::vector<Change> changes{
      {"augment", true, [](O& o) { o.augment = false; }},
      {"cutout", true, [](O& o) { o.cutout = 8; }},
      {"mixup", true, [](O& o) { o.mixup = 0.4; }},
      {"seed", true, [](O& o) { o.seed = 2; }},
      {"label smoothing", true, [](O& o) { o.label_smoothing = 0.1; }},
      {"accumulate", true, [](O& o) { o.accumulate = 2; }},
      {"lr", false, [](O& o) { o.lr = 0.03; }},
      {"base batch", false, [](O& o) { o.base_batch = 24; }},
      {"schedule", false, [](O& o) { o.schedule = "constant"; }},
      {"warm-up", false, [](O& o) { o.warmup_epochs = 0.5; }},
      {"momentum", false, [](O& o) { o.momentum = 0.8; }},
      {"nesterov", false, [](O& o) { o.nesterov = true; }},
      {"weight decay", false, [](O& o) { o.weight_decay = 1e-3; }},
      {"spared", false, [](O& o) { o.no_decay_bn_bias = true; }},
      {"clip norm", false, [](O& o) { o.clip_norm = 0.1; }},
      {"lars", false, [](O& o) { o.optimizer = "lars"; }},
      {"trust", false, [](O& o) { o.optimizer = "lars", o.trust = 0.01; }}};
  const Dataset data = make_synthetic(32, 1);
  TrainOptions options = small_options();
  options.steps = 2;
  std::vector<Run> runs{train(options, data, 1)};
  const double loss = runs[0].steps[0].loss;
  for (const Change& change : changes) {
    INFO(change.name);
    TrainOptions changed = options;
    change.make(changed);
    const Run run = train(changed, data, 1);
    CHECK((run.steps[0].loss != loss) == change.of_loss);
    // Nor are two of them the same.
    for (const Run& other : runs) {
      CHECK((run.parameters != other.parameters));
    }
    runs.push_back(run);
  }
}

TEST_CASE("evaluation counts each picture once on any number of ranks") {
  const Dataset data = make_synthetic(10, 103);
  const auto result_on = [&](int ranks) {
    std::vector<EvaluationResult> results(static_cast<std::size_t>(ranks));
    spawn_ranks(ranks, [&](Communicator& communicator) {
      set_kernel_threads(1);
      const auto model = make_resnet("resnet20", {});
      model->initialize(1);
      results[static_cast<std::size_t>(communicator.rank())] =
          evaluate(*model, data.test, communicator);
      RINGLET_CHECK(model->training(), "evaluation changed the mode");
    });
    return results;
  };
  const EvaluationResult alone = result_on(1).front();
  CHECK(alone.pictures == 103);
  for (const int ranks : {2, 3, 8}) {
    for (const EvaluationResult& result : result_on(ranks)) {
      CHECK(result.accuracy == alone.accuracy);
      CHECK(result.loss == Approx(alone.loss).epsilon(1e-6));
    }
  }
}

TEST_CASE("what is evaluated is the average of the weights, not trained on") {
  const Dataset data = make_synthetic(32, 21);
  const int ranks = GENERATE(1, 2);
  TrainOptions options = small_options();
  const Run usual = train(options, data, ranks);
  // So slow an average is what the model was at the start.
  options.ema_decay = 0.9999999;
  const Run averaged = train(options, data, ranks);
  const auto model = make_resnet(options.model, {});
  model->initialize(options.seed);
  const auto alone = make_communicator("solo", {});
  const double at_start = evaluate(*model, data.test, *alone).loss;
  for (std::size_t i = 0; i < usual.steps.size(); ++i) {
    CHECK(averaged.steps[i].loss == usual.steps[i].loss);
  }
  for (std::size_t i = 0; i < usual.epochs.size(); ++i) {
    CHECK(averaged.epochs[i].validation->loss == Approx(at_start));
    CHECK(usual.epochs[i].validation->loss != Approx(at_start));
  }
}

TEST_CASE("a training that diverges ends with advice") {
  TrainOptions options = small_options();
  options.lr = 1e20;
  options.steps = 30;
  CHECK_THROWS_WITH(train(options, make_synthetic(12, 5), 2),
                    ContainsSubstring("the training has diverged") &&
                        ContainsSubstring("--lr (now 1e+20)"));
}

TEST_CASE("after the first epoch a step asks the system for no memory") {
  const Dataset data = make_synthetic(32, 20);
  spawn_ranks(1, [&](Communicator& communicator) {
    set_kernel_threads(1);
    TrainOptions options = small_options();
    options.workers = 0;
    options.steps = 12;
    const auto model = make_resnet(options.model, {});
    model->initialize(1);
    Trainer trainer(options, make_plan(options, data.train.count(), 1), *model,
                    data, communicator);
    std::size_t blocks = 0;
    TrainObserver observer;
    observer.epoch = [&](const EpochResult& result) {
      const std::size_t now = allocator_stats().blocks_from_system;
      RINGLET_CHECK(result.epoch == 1 || now == blocks,
                    "epoch {} asked for {} blocks", result.epoch, now - blocks);
      blocks = now;
    };
    trainer.run(observer);
  });
  SUCCEED("no epoch after the first allocated");
}

TEST_CASE("a plan follows from options, data and ranks") {
  TrainOptions options;
  CHECK(make_plan(options, 20000, 2).global_batch == kDefaultBatch);
  CHECK(make_plan(options, 20000, 2).total_steps == kDefaultSteps);
  options.batch_per_rank = 64;
  options.epochs = 3;
  options.lr = 0.1;
  options.base_batch = 256;
  const TrainPlan plan = make_plan(options, 50000, 2);
  CHECK(plan.global_batch == 128);
  CHECK(plan.steps_per_epoch == 391);
  CHECK(plan.total_steps == 3 * 391);
  CHECK(plan.schedule.base_lr == Approx(0.05));

  options.batch_per_rank = 0;
  options.batch_size = 3;
  CHECK_THROWS_WITH(
      make_plan(options, 100, 4),
      ContainsSubstring("--batch-size 3: expected at least one picture for "
                        "each of the 4 ranks"));
  options.batch_size = 101;
  CHECK_THROWS_WITH(make_plan(options, 100, 4),
                    ContainsSubstring("expected at most the 100 training"));
}
