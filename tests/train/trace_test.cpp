#include <algorithm>
#include <map>
#include <set>

#include "collectives/algorithm_communicator.h"
#include "collectives/recorder.h"
#include "engine/data/synthetic.h"
#include "engine/train/trainer.h"
#include "kernels/runtime/threads.h"
#include "models/resnet.h"
#include "support/catch.h"
#include "support/spawn_ranks.h"

using namespace ringlet;
using namespace ringlet::testing;

namespace {

constexpr int kRanks = 2;
constexpr std::size_t kSteps = 4;

// What two ranks recorded of a training of four steps, and their buckets.
struct Record {
  std::vector<Event> events;
  std::vector<GradientBucket> buckets;
};

std::vector<Record> train(const RecorderOptions& options,
                          std::size_t passes = 1) {
  static const Dataset data = make_synthetic(16, 4);
  TrainOptions train;
  train.model = "resnet20";
  train.batch_size = 4;
  train.steps = kSteps;
  train.accumulate = passes;
  train.bucket_mb = 0.1;
  train.check_weights = 0;
  std::vector<Record> records(kRanks);
  spawn_transports(kRanks, [&](std::unique_ptr<Transport> transport) {
    set_kernel_threads(1);
    const auto recorder = std::make_shared<Recorder>(options);
    const auto communicator = make_algorithm_communicator(
        "ring", std::move(transport), {.recorder = recorder});
    const auto model = make_resnet(train.model, {});
    model->initialize(train.seed);
    const TrainPlan plan = make_plan(train, data.train.count(), kRanks);
    Trainer trainer(train, plan, *model, data, *communicator);
    trainer.run({});
    records[static_cast<std::size_t>(communicator->rank())] = {
        {recorder->events().begin(), recorder->events().end()},
        trainer.parallel().buckets()};
  });
  return records;
}

}  // namespace

TEST_CASE("a trace tells training steps and buckets apart") {
  for (const Record& record : train({})) {
    REQUIRE(record.buckets.size() > 1);
    // Bytes of the calls, by step and bucket.
    std::map<std::int64_t, std::map<int, std::size_t>> bytes;
    for (const Event& event : record.events) {
      if (event.kind != EventKind::kCall) continue;
      bytes[event.training_step][event.bucket] += event.bytes;
    }
    CHECK(bytes.count(kNone) == 1);  // parameters before, evaluation after
    CHECK(bytes[kNone].count(0) == 0);
    for (std::int64_t step = 1; step <= static_cast<int>(kSteps); ++step) {
      for (std::size_t b = 0; b < record.buckets.size(); ++b) {
        CHECK(bytes[step][static_cast<int>(b)] ==
              record.buckets[b].count * sizeof(float));
      }
      // Losses and requests, which are no bucket.
      CHECK(bytes[step][kNone] == (3 + 2 * 2) * sizeof(double));
      CHECK(bytes[step].size() == record.buckets.size() + 1);
    }
    CHECK(bytes.size() == kSteps + 1);
  }
}

TEST_CASE("what a rank is at follows one after the other, pass by pass") {
  constexpr std::size_t kPasses = 2;
  for (const Record& record : train({.last_step = 2}, kPasses)) {
    std::map<std::int64_t, std::vector<EventKind>> kinds;
    std::set<int> buckets;
    std::set<std::size_t> passes;
    std::int64_t free = 0;
    for (const Event& event : record.events) {
      if (!is_activity(event.kind)) continue;
      CHECK(free <= event.begin);
      CHECK(event.begin <= event.end);
      free = event.end;
      passes.insert(event.step);
      buckets.insert(event.bucket);
      if (event.bucket == kNone)
        kinds[event.training_step].push_back(event.kind);
      // Only the last pass completes gradients.
      if (event.bucket != kNone) CHECK(event.kind == EventKind::kBackward);
      if (event.bucket != kNone) CHECK(event.step == kPasses - 1);
    }
    const std::vector<EventKind> step = {
        EventKind::kData,     EventKind::kForward,  EventKind::kBackward,
        EventKind::kForward,  EventKind::kBackward, EventKind::kCommunication,
        EventKind::kOptimizer};
    CHECK((kinds[1] == step));
    CHECK((kinds[2] == step));
    CHECK(kinds.size() == 2);
    CHECK(buckets.size() == record.buckets.size() + 1);
    CHECK((passes == std::set<std::size_t>{0, 1}));
  }
  // The evaluation belongs to the last step, which it follows.
  for (const Record& record : train({.first_step = kSteps})) {
    CHECK(std::count_if(record.events.begin(), record.events.end(),
                        [](const Event& event) {
                          return event.kind == EventKind::kEvaluation;
                        }) == 1);
  }
}

TEST_CASE("a trace can be of some steps") {
  for (const Record& record : train({.first_step = 2, .last_step = 3})) {
    std::set<std::int64_t> steps;
    for (const Event& event : record.events) steps.insert(event.training_step);
    CHECK((steps == std::set<std::int64_t>{2, 3}));
  }
}
