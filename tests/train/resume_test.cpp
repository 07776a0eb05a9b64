#include <cstring>
#include <nlohmann/json.hpp>

#include "engine/data/synthetic.h"
#include "engine/train/checkpointer.h"
#include "engine/train/trainer.h"
#include "kernels/runtime/check.h"
#include "kernels/runtime/threads.h"
#include "models/resnet.h"
#include "support/catch.h"
#include "support/files.h"
#include "support/spawn_ranks.h"

using namespace ringlet;
using namespace ringlet::testing;

namespace {

// 40 pictures in batches of 12: epochs of 4 steps, the last with 4 pictures.
constexpr std::size_t kPictures = 40;

TrainOptions small_options() {
  TrainOptions options;
  options.model = "resnet20";
  options.batch_size = 12;
  options.steps = 8;
  options.lr = 0.02;
  options.nesterov = true;
  options.cutout = 8;
  options.mixup = 0.4;
  options.ema_decay = 0.8;
  options.workers = 2;
  options.checkpoint_epochs = 0;
  return options;
}

// All that must be the same in every bit.
struct Outcome {
  std::vector<std::vector<float>> states;  // of all ranks
  std::vector<double> metrics;             // of rank 0
  bool finished = false;
};

std::vector<float> state_of(const Module& model, const Trainer& trainer) {
  std::vector<float> state = trainer.optimizer().momentum().to_vector();
  for (const auto& tensors : {model.state(), trainer.result()}) {
    for (const auto& [name, tensor] : tensors) {
      if (tensor.dtype() != Dtype::kF32) continue;
      const std::vector<float> values = tensor.to_vector();
      state.insert(state.end(), values.begin(), values.end());
    }
  }
  return state;
}

// Trains on threads as ranks in `folder`, from its start or from a point.
// `stop_after` asks one rank to stop once that step is done.
Outcome train(const TrainOptions& options, int ranks,
              const std::filesystem::path& folder,
              const std::optional<ResumePoint>& from = {},
              std::size_t stop_after = 0) {
  static const Dataset data = make_synthetic(kPictures, 10);
  Outcome outcome;
  outcome.states.resize(static_cast<std::size_t>(ranks));
  const RunDirectory directory(
      folder, from ? RunDirectory::Open::kContinue : RunDirectory::Open::kNew);
  if (!from) directory.write_config({}, {}, {});
  const auto body = [&](Communicator& communicator) {
    set_kernel_threads(1);
    const auto model = make_resnet(options.model, {});
    model->initialize(options.seed);
    const TrainPlan plan =
        make_plan(options, kPictures, static_cast<std::size_t>(ranks));
    Trainer trainer(options, plan, *model, data, communicator);
    if (from) {
      restore(*from, *model, trainer.optimizer(), trainer.average());
      trainer.resume(from->position);
    }
    Checkpointer checkpointer(directory, options, *model, trainer.optimizer(),
                              trainer.average());
    TrainRequests requests;
    TrainObserver observer;
    const bool first = communicator.rank() == 0;
    const bool last = communicator.rank() == communicator.size() - 1;
    observer.step = [&](const StepResult& result) {
      if (last && result.step + 1 == stop_after) requests.stop = true;
      if (!first) return;
      outcome.metrics.insert(
          outcome.metrics.end(),
          {result.loss, result.lr, static_cast<double>(result.correct)});
    };
    if (first) {
      observer.epoch = [&](const EpochResult& result) {
        outcome.metrics.insert(
            outcome.metrics.end(),
            {result.train_loss, result.train_accuracy, result.validation->loss,
             result.validation->accuracy});
      };
      observer.checkpoint = [&](const TrainPosition& position,
                                std::optional<double> accuracy) {
        checkpointer.save(position, accuracy);
      };
    }
    const bool finished = trainer.run(observer, requests);
    if (first) outcome.finished = finished;
    outcome.states[static_cast<std::size_t>(communicator.rank())] =
        state_of(*model, trainer);
  };
  spawn_ranks(ranks, body, {}, options.virtual_ranks > 0 ? "ordered" : "ring");
  return outcome;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() &&
         std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace

TEST_CASE("a position outlives its way through a checkpoint's manifest") {
  const TrainPosition position{.steps_done = 7,
                               .loss = Meter(2.5, 24),
                               .accuracy = Meter(0.75, 12),
                               .epoch_seconds = 1.5,
                               .skipped = 3,
                               .skipped_in_a_row = 2,
                               .loss_scale = {32768, 41}};
  nlohmann::ordered_json json =
      nlohmann::ordered_json::parse(to_json(position).dump());
  const TrainPosition back = position_from_json(json);
  CHECK(back.steps_done == 7);
  CHECK(back.loss.sum() == 2.5);
  CHECK(back.loss.samples() == 24);
  CHECK(back.accuracy.sum() == 0.75);
  CHECK(back.accuracy.samples() == 12);
  CHECK(back.epoch_seconds == 1.5);
  CHECK(back.skipped == 3);
  CHECK(back.skipped_in_a_row == 2);
  CHECK(back.loss_scale.value == 32768);
  CHECK(back.loss_scale.good_steps == 41);
  json.erase("loss_scale");  // as earlier versions wrote it
  CHECK(position_from_json(json).loss_scale.value == 1);
}

TEST_CASE("a resumed run has the bits of one that went straight through") {
  const int ranks = GENERATE(1, 3);
  // At the end of an epoch, in the middle of one, and before its last step.
  const std::size_t at = GENERATE(4, 6, 7);
  INFO(ranks << " ranks, from step " << at);
  const TemporaryFolder straight, broken;
  const TrainOptions options = small_options();
  const Outcome whole = train(options, ranks, straight.path());
  const Outcome first = train(options, ranks, broken.path(), {}, at);
  CHECK(whole.finished);
  REQUIRE_FALSE(first.finished);

  const ResumePoint point = find_resume_point(broken.path() / "");
  CHECK(point.position.steps_done == at);
  CHECK(point.options.lr == options.lr);
  CHECK(point.run == broken.path());
  const Outcome second = train(options, ranks, broken.path(), point);
  CHECK(second.finished);
  for (std::size_t rank = 0; rank < whole.states.size(); ++rank) {
    CHECK(same_bits(whole.states[rank], second.states[rank]));
  }
  std::vector<double> joined = first.metrics;
  joined.insert(joined.end(), second.metrics.begin(), second.metrics.end());
  CHECK((whole.metrics == joined));
}

TEST_CASE("a run may be resumed on another number of ranks") {
  const TemporaryFolder folder;
  train(small_options(), 3, folder.path(), {}, 5);
  const Outcome rest = train(small_options(), 2, folder.path(),
                             find_resume_point(folder.path()));
  CHECK(rest.finished);
  CHECK(rest.metrics.size() == 3 * 3 + 4);  // steps 6 to 8, one epoch
}

TEST_CASE("virtual ranks go on elsewhere with the same bits") {
  TrainOptions options = small_options();
  options.virtual_ranks = 4;
  options.batch_norm = GENERATE("local", "averaged");
  const TemporaryFolder straight, broken;
  const Outcome whole = train(options, 4, straight.path());
  train(options, 4, broken.path(), {}, 3);
  train(options, 1, broken.path(), find_resume_point(broken.path()), 6);
  const Outcome rest =
      train(options, 2, broken.path(), find_resume_point(broken.path()));
  CHECK(rest.finished);
  CHECK(same_bits(whole.states[0], rest.states[0]));
  const std::size_t told = rest.metrics.size();
  REQUIRE(told == 2 * 3 + 4);
  CHECK(std::equal(rest.metrics.begin(), rest.metrics.end(),
                   whole.metrics.end() - static_cast<long>(told)));
}

TEST_CASE("checkpoints come when they are due, the best and newest are kept") {
  const TemporaryFolder folder;
  TrainOptions options = small_options();
  options.checkpoint_steps = 3;
  options.checkpoint_epochs = 1;
  options.keep = 2;
  options.steps = 12;
  // Checkpoints at 3, 4, 6, 8, 9, 12; evaluations at 4, 8, 12.
  const Outcome outcome = train(options, 1, folder.path());
  std::size_t best_step = 4;
  const auto accuracy_at = [&](std::size_t step) {
    // Three figures of each step, four of each epoch, the last its accuracy.
    return outcome.metrics.at(step * 3 + step / 4 * 4 - 1);
  };
  for (const std::size_t step : {8, 12}) {
    // Of equals the newest is kept.
    if (accuracy_at(step) >= accuracy_at(best_step)) best_step = step;
  }
  std::vector<std::size_t> kept;
  const CheckpointFolder checkpoints(folder.path() / "checkpoints");
  for (std::size_t step = 1; step <= 12; ++step) {
    if (!std::filesystem::exists(checkpoints.of_step(step))) continue;
    kept.push_back(step);
    const Checkpoint found = read_checkpoint(checkpoints.of_step(step));
    CHECK(found.state.score.has_value() == (step % 4 == 0));
    if (found.state.score) CHECK(*found.state.score == accuracy_at(step));
  }
  std::vector<std::size_t> expected{9, 12};
  if (best_step < 9) expected.insert(expected.begin(), best_step);
  CHECK(kept == expected);
}

TEST_CASE("a checkpoint that is broken is passed over for the one before") {
  const TemporaryFolder folder;
  TrainOptions options = small_options();
  options.checkpoint_steps = 2;
  train(options, 1, folder.path());
  const auto newest = folder.path() / "checkpoints/step-8";
  std::string bytes = read_file(newest / "model.safetensors");
  bytes[bytes.size() / 2] ^= 1;
  write_file(newest / "model.safetensors", bytes);
  const ResumePoint point = find_resume_point(folder.path());
  CHECK(point.position.steps_done == 6);
  REQUIRE(point.rejected.size() == 1);
  CHECK_THAT(point.rejected[0],
             ContainsSubstring("step-8/model.safetensors: tensor '"));
  CHECK_THROWS_WITH(find_resume_point(newest),
                    ContainsSubstring("is not as it was written"));
}

TEST_CASE("what holds no checkpoint cannot be resumed") {
  const TemporaryFolder folder;
  CHECK_THROWS_WITH(find_resume_point(folder.path()),
                    ContainsSubstring("no checkpoint there, expected the "
                                      "folder of a run"));
  CHECK_THROWS_WITH(find_resume_point(folder.path() / "missing"),
                    ContainsSubstring("missing: no checkpoint there"));
  // A checkpoint of something else.
  const auto path =
      CheckpointFolder(folder.path() / "checkpoints").save({}, {1, {}, {}});
  CHECK_THROWS_WITH(find_resume_point(folder.path()),
                    ContainsSubstring("not a checkpoint of this program"));
  // Going on there would write into somebody's folder.
  std::filesystem::copy(path, folder.path() / "step-1");
  std::filesystem::copy(path, path.string() + ".old");
  for (const auto& moved : {folder.path() / "step-1",
                            std::filesystem::path(path.string() + ".old")}) {
    CHECK_THROWS_WITH(find_resume_point(moved),
                      ContainsSubstring("expected RUN/checkpoints/step-1"));
  }
}

TEST_CASE("options travel through JSON") {
  TrainOptions options;
  options.model = "resnet18";
  options.milestones = {1.5, 2};
  options.lr = 0.1 + 0.2;
  options.seed = ~std::uint64_t{0};
  const auto json = to_json(options);
  CHECK(to_json(options_from_json(json)) == json);
  // An earlier version did not write each of them.
  auto earlier = json;
  earlier.erase("lr");
  auto expected = json;
  expected["lr"] = TrainOptions{}.lr;
  CHECK(to_json(options_from_json(earlier)) == expected);
  auto wrong = json;
  wrong["epochs"] = "many";
  CHECK_THROWS_WITH(options_from_json(wrong), ContainsSubstring("'epochs'"));
  auto more = json;
  more["magic"] = 1;
  CHECK_THROWS_WITH(options_from_json(more),
                    "option 'magic': this version does not have it");
}
