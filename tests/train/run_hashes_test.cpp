#include "engine/train/run_hashes.h"

#include <bit>

#include "engine/data/synthetic.h"
#include "engine/parallel/agreement.h"
#include "engine/train/trainer.h"
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
  options.steps = 6;
  options.schedule = "constant";
  return options;
}

// What one bit of a rank's weights becomes after a step.
struct Flip {
  int rank;
  std::size_t step;
  std::string parameter;
};

std::vector<StepHashes> train(const TrainOptions& options, int ranks,
                              const std::optional<Flip>& flip = {}) {
  static const Dataset data = make_synthetic(32, 10);
  std::vector<StepHashes> hashes;
  const auto body = [&](Communicator& communicator) {
    set_kernel_threads(1);
    const auto model = make_resnet(options.model, {});
    model->initialize(options.seed);
    const TrainPlan plan =
        make_plan(options, 32, static_cast<std::size_t>(ranks));
    Trainer trainer(options, plan, *model, data, communicator);
    TrainObserver observer;
    observer.step = [&](const StepResult& result) {
      if (communicator.rank() == 0 && result.hashes) {
        hashes.push_back(*result.hashes);
      }
      if (!flip || flip->rank != communicator.rank() ||
          flip->step != result.step) {
        return;
      }
      for (const Variable& parameter : model->parameters()) {
        if (parameter.name() != flip->parameter) continue;
        auto* bits = static_cast<std::uint32_t*>(parameter.data().raw());
        bits[1] ^= 1;
      }
    };
    trainer.run(observer);
  };
  spawn_ranks(ranks, body, {}, "ordered");
  return hashes;
}

}  // namespace

TEST_CASE("a rank whose weights are not those of the others is found") {
  TrainOptions options = small_options();
  options.check_weights = 2;
  const Flip flip{2, 3, "layer3.0.conv1.weight"};
  CHECK_THROWS_WITH(
      train(options, 4, flip),
      "after step 4 the ranks' weights are not the same, which they must be: "
      "others than most have rank 2; in bucket 0 'layer3.0.conv1.weight'");
  // Nobody knows which of two is right.
  CHECK_THROWS_WITH(train(options, 2, Flip{1, 1, "conv1.weight"}),
                    ContainsSubstring("after step 2 ") &&
                        ContainsSubstring("rank 0, 1; in bucket ") &&
                        ContainsSubstring("'conv1.weight'"));
  CHECK(train(options, 3).size() == 6);
  // The last steps are looked at too.
  options.check_weights = 100;
  CHECK_THROWS_WITH(
      train(options, 4, flip),
      ContainsSubstring("after step 6 ") && ContainsSubstring("have rank 2;"));
  options.check_weights = 0;
  CHECK(train(options, 2, Flip{1, 1, "conv1.weight"}).size() == 6);
}

TEST_CASE("steps have the same hashes on any number of virtual ranks' ranks") {
  TrainOptions options = small_options();
  options.virtual_ranks = 4;
  const std::vector<StepHashes> alone = train(options, 1);
  REQUIRE(alone.size() == 6);
  CHECK(alone[0].shards.size() == 4);
  CHECK(alone[0].shards[0].gradients != alone[0].shards[1].gradients);
  CHECK(alone[0].gradient_norm > 0);
  for (const int ranks : {2, 4}) {
    const std::vector<StepHashes> others = train(options, ranks);
    for (std::size_t i = 0; i < alone.size(); ++i) {
      CHECK(others[i].step == i + 1);
      CHECK(others[i].data == alone[i].data);
      CHECK(others[i].loss == alone[i].loss);
      CHECK(others[i].gradient_norm == alone[i].gradient_norm);
      CHECK((others[i].gradients == alone[i].gradients));
      CHECK((others[i].weights == alone[i].weights));
      for (std::size_t shard = 0; shard < 4; ++shard) {
        CHECK(others[i].shards[shard].loss == alone[i].shards[shard].loss);
        CHECK(others[i].shards[shard].gradients ==
              alone[i].shards[shard].gradients);
      }
    }
  }
}

TEST_CASE("hashes show what has changed") {
  const TrainOptions options = small_options();
  const std::vector<StepHashes> base = train(options, 1);
  TrainOptions rate = options;
  rate.lr *= 2;
  const std::vector<StepHashes> faster = train(rate, 1);
  CHECK(faster[0].data == base[0].data);
  CHECK((faster[0].gradients == base[0].gradients));
  CHECK((faster[0].weights != base[0].weights));
  CHECK((faster[1].gradients != base[1].gradients));
  TrainOptions seed = options;
  seed.seed = 9;
  CHECK(train(seed, 1)[0].data != base[0].data);
  // The order is the epoch's; steps of 12, 12 and 8 pictures.
  CHECK(base[0].data != base[3].data);
  TrainOptions none = options;
  none.hashes = false;
  CHECK(train(none, 1).empty());
}
