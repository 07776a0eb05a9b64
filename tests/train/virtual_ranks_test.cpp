#include <cstring>

#include "engine/data/synthetic.h"
#include "engine/train/trainer.h"
#include "kernels/runtime/threads.h"
#include "models/resnet.h"
#include "support/catch.h"
#include "support/spawn_ranks.h"

using namespace ringlet;
using namespace ringlet::testing;

namespace {

// Batches of 20, 20 and 3 pictures: 8 virtual ranks have 3 or 2 of them, and
// in the last step some have none.
const Dataset& data() {
  static const Dataset data = make_synthetic(43, 61);
  return data;
}

TrainOptions small_options() {
  TrainOptions options;
  options.model = "resnet20";
  options.batch_size = 20;
  options.steps = 5;
  options.lr = 0.05;
  options.schedule = "constant";
  options.mixup = 0.4;
  options.cutout = 8;
  options.ema_decay = 0.7;
  return options;
}

// Of rank 0.
struct Run {
  std::vector<double> metrics;
  std::vector<float> learned, running;  // parameters; batch norm's statistics
  std::int64_t batches = 0;             // that batch norm has counted

  bool operator==(const Run& other) const {
    const auto same = [](const auto& a, const auto& b) {
      return a.size() == b.size() &&
             std::memcmp(a.data(), b.data(), a.size() * sizeof(a[0])) == 0;
    };
    return same(metrics, other.metrics) && same(learned, other.learned) &&
           same(running, other.running) && batches == other.batches;
  }
};

Run train(const TrainOptions& options, int ranks,
          const std::string& algorithm = "ordered") {
  Run run;
  const auto body = [&](Communicator& communicator) {
    set_kernel_threads(1);
    const auto model = make_resnet(options.model, {});
    model->initialize(options.seed);
    const TrainPlan plan = make_plan(options, data().train.count(),
                                     static_cast<std::size_t>(ranks));
    Trainer trainer(options, plan, *model, data(), communicator);
    TrainObserver observer;
    if (communicator.rank() == 0) {
      observer.step = [&](const StepResult& result) {
        run.metrics.insert(run.metrics.end(),
                           {result.loss, static_cast<double>(result.correct),
                            static_cast<double>(result.images)});
      };
      observer.epoch = [&](const EpochResult& result) {
        run.metrics.insert(run.metrics.end(), {result.validation->loss,
                                               result.validation->accuracy});
      };
    }
    trainer.run(observer);
    if (communicator.rank() > 0) return;
    for (const Variable& parameter : model->parameters()) {
      const std::vector<float> values = parameter.data().to_vector();
      run.learned.insert(run.learned.end(), values.begin(), values.end());
    }
    for (const auto& [name, tensor] : model->state()) {
      if (tensor.dtype() == Dtype::kI64) {
        run.batches = *tensor.data<std::int64_t>();
      } else if (name.find("running") != std::string::npos) {
        const std::vector<float> values = tensor.to_vector();
        run.running.insert(run.running.end(), values.begin(), values.end());
      }
    }
  };
  spawn_ranks(ranks, body, {}, algorithm);
  return run;
}

double distance(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += std::pow(static_cast<double>(a[i]) - b[i], 2);
    size += std::pow(static_cast<double>(b[i]), 2);
  }
  return std::sqrt(difference / size);
}

}  // namespace

TEST_CASE("virtual ranks have the same bits on any number of ranks") {
  TrainOptions options = small_options();
  options.virtual_ranks = 8;
  options.batch_norm = GENERATE("local", "averaged");
  INFO(options.batch_norm);
  const Run alone = train(options, 1);
  CHECK(alone.batches == 5);
  for (const int ranks : {2, 4, 8}) {
    INFO(ranks << " ranks");
    CHECK((train(options, ranks) == alone));
    CHECK((train(options, ranks, "shared") == alone));
  }
  // A bucket for each parameter.
  options.bucket_mb = 0;
  CHECK((train(options, 2) == alone));
}

TEST_CASE("virtual ranks compute what so many ranks do") {
  TrainOptions options = small_options();
  options.batch_norm = GENERATE("local", "averaged");
  INFO(options.batch_norm);
  const Run ranks = train(options, 4);
  options.virtual_ranks = 4;
  CHECK((train(options, 1) == ranks));
  options.virtual_ranks = 2;
  CHECK_FALSE((train(options, 1) == ranks));
}

TEST_CASE("accumulated gradients are the sum over the passes") {
  TrainOptions options = small_options();
  // More steps would multiply the rounding.
  options.steps = 1;
  const Run whole = train(options, 1);
  options.accumulate = 4;
  const Run passes = train(options, 1);
  options.accumulate = 1;
  options.virtual_ranks = 4;
  const Run shards = train(options, 1);
  // Each pass has batch norm's statistics of its own, as a virtual rank has.
  CHECK(distance(passes.learned, shards.learned) < 1e-6);
  CHECK(distance(passes.learned, whole.learned) > 1e-4);
  // But they go on from pass to pass.
  CHECK(passes.batches == 4);
  CHECK(shards.batches == 1);
}

TEST_CASE("averaged running statistics are not those of rank 0") {
  TrainOptions options = small_options();
  options.steps = 1;
  const Run local = train(options, 2);
  options.batch_norm = "averaged";
  const Run averaged = train(options, 2);
  CHECK((averaged.learned == local.learned));
  CHECK_FALSE((averaged.running == local.running));
}

// But for rounding, which steps multiply: fewer, and smaller ones.
TEST_CASE("synchronised batch norm is that of one rank with all pictures") {
  TrainOptions options = small_options();
  options.steps = 3;
  options.lr = 1e-3;
  const Run alone = train(options, 1);
  // In the last step one of four ranks has no picture.
  for (const int ranks : {1, 2, 3, 4}) {
    INFO(ranks << " ranks");
    options.batch_norm = "synchronised";
    const Run together = train(options, ranks, "ring");
    options.batch_norm = "local";
    const Run apart = train(options, ranks, "ring");
    CHECK(together.batches == alone.batches);
    CHECK(together.metrics[0] == Approx(alone.metrics[0]).epsilon(1e-5));
    const double near = distance(together.running, alone.running);
    CHECK(near < 2e-3);
    CHECK((distance(apart.running, alone.running) > 5 * near) == (ranks > 1));
  }
}

TEST_CASE("passes without a picture on any rank do not matter") {
  TrainOptions options = small_options();
  options.batch_norm = "synchronised";
  options.accumulate = 5;  // the last batch has 3 pictures
  const Run one = train(options, 1, "ring");
  const Run two = train(options, 2, "ring");
  CHECK(one.metrics.size() == two.metrics.size());
  CHECK(one.batches == 2 * 5 + 3 + 2 * 5);
  CHECK(two.batches == one.batches);
}

TEST_CASE("multistep without its steps is refused") {
  TrainOptions options = small_options();
  options.schedule = "multistep";
  CHECK_THROWS_WITH(make_plan(options, 43, 1),
                    ContainsSubstring("multistep: expected --milestones"));
}

TEST_CASE("what the passes do not fit to is refused") {
  TrainOptions options = small_options();
  const auto refuses = [&](std::size_t ranks, const std::string& text) {
    CHECK_THROWS_WITH(make_plan(options, 43, ranks), ContainsSubstring(text));
  };
  options.virtual_ranks = 6;
  refuses(2,
          "--virtual-ranks 6: expected a power of two and a multiple of "
          "the 2 ranks");
  options.virtual_ranks = 4;
  refuses(3, "--virtual-ranks 4");
  options.batch_norm = "synchronised";
  refuses(2,
          "--batch-norm synchronised: expected local or averaged with "
          "--virtual-ranks 4");
  options.batch_norm = "local";
  options.accumulate = 2;
  refuses(2, "--accumulate 2: expected none with --virtual-ranks");
  options.accumulate = 1;
  options.virtual_ranks = 32;
  refuses(1,
          "--batch-size 20: expected at least one picture for each of the "
          "32 virtual ranks");
  options.virtual_ranks = 0;
  options.accumulate = 11;
  refuses(2, "each of the 22 passes of all ranks");
  options.batch_size = 0;
  options.batch_per_rank = 8;
  refuses(2, "--batch-per-rank 8: expected");
}
