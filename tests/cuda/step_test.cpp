#include "kernels/step.h"

#include <limits>

#include "cuda/support.h"

using namespace ringlet;
using namespace ringlet::testing;
using namespace ringlet::cuda;

namespace {

constexpr std::uint32_t kRecords = 4;

// State and record of step 6 after its verdict.
std::pair<StepState, StepRecord> judged(double loss, double squares,
                                        bool scaled, LossScale scale,
                                        float clip_norm = 0) {
  StepState before{.steps_done = 6, .loss_scale = scale};
  before.sgd.skip = 5;
  before.sgd.gradient_scale = 0.5;
  const DeviceArray<StepState> state(std::vector<StepState>{before});
  const DeviceArray<CrossEntropyResult> result(
      std::vector<CrossEntropyResult>{{loss, 17, -1}});
  const DeviceArray<double> sum(std::vector<double>{squares});
  const DeviceArray<StepRecord> records(kRecords);
  judge_step({.state = state.data(),
              .result = result.data(),
              .squares = sum.data(),
              .scaled = scaled,
              .clip_norm = clip_norm,
              .records = records.data(),
              .record_count = kRecords});
  return {state.to_host()[0], records.to_host()[6 % kRecords]};
}

}  // namespace

TEST_CASE("a step on the GPU begins where the tables say") {
  const DeviceArray<BatchPlace> places(
      std::vector<BatchPlace>{{9, 0}, {9, 16}, {9, 32}});
  const DeviceArray<float> rates(std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8, 9});
  StepState before{.steps_done = 7, .loss_scale = {.value = 8}};
  before.sgd.skip = 1;
  const DeviceArray<StepState> state(std::vector<StepState>{before});
  begin_step(
      {.places = places.data(), .steps_per_epoch = 3, .rates = rates.data()},
      state.data());
  const StepState after = state.to_host()[0];
  CHECK(after.steps_done == 7);
  CHECK(after.place.epoch == 9);
  CHECK(after.place.first == 16);
  CHECK(after.sgd.lr == 8);
  CHECK(after.sgd.gradient_scale == 0.125f);
  CHECK(after.sgd.skip == 0);
  CHECK(after.loss_scale.value == 8);
}

TEST_CASE("a step on the GPU is skipped unless all is finite") {
  const double infinity = std::numeric_limits<double>::infinity();
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const auto skips = [](double loss, double squares) {
    const auto [state, record] = judged(loss, squares, false, {});
    CHECK(state.steps_done == 7);
    CHECK(state.loss_scale.value == 1);
    CHECK((record.result.loss == loss || std::isnan(loss)));
    CHECK(record.result.correct == 17);
    CHECK(record.skipped == state.sgd.skip);
    return record.skipped;
  };
  CHECK(skips(2.5, 1e300) == 0);
  CHECK(skips(0, 0) == 0);
  for (const double bad : {infinity, -infinity, nan}) {
    CHECK(skips(bad, 3) == 1);
    CHECK(skips(3, bad) == 1);
  }
}

TEST_CASE("a step on the GPU limits the norm of the gradients") {
  // Half of 6 is the norm.
  const auto judge = [](float clip) { return judged(1, 36, false, {}, clip); };
  CHECK(judge(0).second.gradient_norm == 3);
  CHECK(judge(0).first.sgd.gradient_scale == 0.5f);
  CHECK(judge(4).first.sgd.gradient_scale == 0.5f);
  CHECK(judge(2).first.sgd.gradient_scale == Approx(0.5 * 2 / 3));
  CHECK(judge(2).second.gradient_norm == 3);
}

TEST_CASE("the loss scale on the GPU halves and doubles") {
  const auto after = [](bool finite, LossScale scale) {
    return judged(finite ? 1 : NAN, 1, true, scale).first.loss_scale;
  };
  CHECK(after(false, {64, 1999}).value == 32);
  CHECK(after(false, {64, 1999}).good_steps == 0);
  CHECK(after(false, {1, 3}).value == 1);
  CHECK(after(true, {64, 1998}).value == 64);
  CHECK(after(true, {64, 1998}).good_steps == 1999);
  CHECK(after(true, {64, 1999}).value == 128);
  CHECK(after(true, {64, 1999}).good_steps == 0);
  CHECK(after(true, {LossScale::kLargest, 1999}).value == LossScale::kLargest);
}

TEST_CASE("what a skipped step has changed on the GPU is restored") {
  const std::size_t words = GENERATE(0, 1, 1000);
  const std::uint32_t skip = GENERATE(0, 1);
  StepState before{};
  before.sgd.skip = skip;
  const DeviceArray<StepState> state(std::vector<StepState>{before});
  const std::vector<std::uint64_t> old(words, 7), changed(words, 8);
  const DeviceArray<std::uint64_t> from(old), to(changed);
  restore_if_skipped(state.data(), words, from.data(), to.data());
  CHECK((to.to_host() == (skip ? old : changed)));
}
