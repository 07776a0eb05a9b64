#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <optional>

#include "apps/cli.h"
#include "apps/commands.h"
#include "apps/saved_run.h"
#include "apps/train_device.h"
#include "apps/train_setup.h"
#include "engine/io/run_directory.h"
#include "engine/train/trainer.h"
#include "kernels/backend.h"
#include "kernels/runtime/cuda_library.h"
#include "kernels/runtime/threads.h"

namespace ringlet {
namespace {

// Sums of f32 in another order, carried through so few steps, change a loss by
// less than this part of it; half precision, and other sums for the statistics
// of every layer, by more.
constexpr double kBound = 1e-3, kCoarseBound = 3e-2;

// How one process does what the ranks of the run did.
TrainOptions in_one_process(const SavedRun& run) {
  TrainOptions options = run.options;
  options.comm = "solo";
  options.fault = options.trace = options.out = "";
  options.check_weights = 0;
  options.hashes = true;
  options.batch_per_rank = 0;
  options.wire_dtype = "f32";
  // All ranks' pictures had the same statistics, pass by pass.
  const bool joined = options.batch_norm == "synchronised";
  if (joined && run.ranks > 1 && options.accumulate > 1) {
    throw Error(fmt::format(
        "{}: --batch-norm synchronised with --accumulate {} on {} ranks: one "
        "process cannot put the same pictures into a pass",
        run.path.string(), options.accumulate, run.ranks));
  }
  const std::size_t passes = (joined ? 1 : run.ranks) * options.accumulate;
  if (options.virtual_ranks > 0 || passes == 1) return options;
  if (options.accumulate == 1 && !joined && std::has_single_bit(run.ranks)) {
    options.virtual_ranks = run.ranks;
  } else {
    options.accumulate = passes;
  }
  return options;
}

// Whether one process adds in the order of the run's ranks: two have one order
// only.
bool has_same_order(const SavedRun& run) {
  const TrainOptions& options = run.options;
  if (options.virtual_ranks > 0 || run.ranks == 1) return true;
  if (options.accumulate > 1 || options.batch_norm == "synchronised" ||
      options.wire_dtype != "f32") {
    return false;
  }
  const bool tree = options.comm == "ordered" || options.comm == "shared";
  return run.ranks == 2 || (tree && std::has_single_bit(run.ranks));
}

// What the steps have shown so far.
struct Comparison {
  std::size_t steps = 0;
  bool same_data = true;
  std::string parted;  // what the first step that differs is like; "": none
  std::string parted_in;
  std::size_t same_up_to = 0;
  double largest = 0;  // difference of a loss, in its own size

  void add(const SavedRun& run, const StepHashes& expected,
           const StepHashes& got) {
    ++steps;
    same_data = same_data && got.data == expected.data;
    const double difference =
        std::abs(got.loss - expected.loss) / std::abs(expected.loss);
    largest = std::isnan(difference) ? std::numeric_limits<double>::infinity()
                                     : std::max(largest, difference);
    if (!parted.empty()) return;
    if (same_bits(expected, got)) {
      same_up_to = expected.step;
      return;
    }
    parted_in = where_they_part(same_up_to, expected.step);
    parted = describe_difference(run, expected, got);
  }
};

Comparison retrain(const SavedRun& run, std::size_t steps,
                   const std::optional<ResumePoint>& from) {
  const TrainOptions options = in_one_process(run);
  set_kernel_threads(static_cast<int>(options.threads));
  if (options.conv == "direct") set_conv_algorithm(ConvAlgorithm::kDirect);
  const auto communicator = make_communicator("solo", {});
  ComputeOptions compute = compute_options(options.device, options.precision);
  compute.graph = false;  // hashes of each step
  const Dataset data = load_data(options.data);
  const TrainPlan plan = make_plan(options, data.train.count(), 1);
  const auto make = [&] {
    return make_model(options, data.train.classes.size());
  };
  if (compute.device == Device::kCuda) {
    cuda::library().set_allow_tf32(compute.tf32);
    cuda::library().set_legacy_convolutions(options.conv == "direct");
  }
  prepare_gpu(make, data, plan, compute, read_convolutions(run.path), false,
              *communicator);
  const auto model = make();
  model->to(compute.device);
  Trainer trainer(options, plan, *model, data, *communicator, compute);
  const std::size_t last =
      run.hashes.steps.empty() ? 0 : run.hashes.steps.back().hashes.step;
  Comparison comparison;
  if (from) {
    restore(*from, *model, trainer.optimizer(), trainer.average());
    trainer.resume(from->position);
    comparison.same_up_to = from->position.steps_done;
  }
  TrainRequests requests;
  requests.stop = steps == 1;
  TrainObserver observer;
  auto expected = run.hashes.steps.begin();
  observer.step = [&](const StepResult& result) {
    expected = std::find_if(expected, run.hashes.steps.end(),
                            [&](const HashChain::Link& link) {
                              return link.hashes.step >= result.step;
                            });
    if (comparison.steps < steps && expected != run.hashes.steps.end() &&
        expected->hashes.step == result.step) {
      comparison.add(run, expected->hashes, *result.hashes);
    }
    // A GPU leaves hashes of some steps only. The next one is then the last.
    if (comparison.steps + 1 >= steps || result.step + 1 >= last) {
      requests.stop = true;
    }
  };
  trainer.run(observer, requests);
  return comparison;
}

}  // namespace

int verify_command(int argc, char** argv) {
  std::string folder, checkpoint;
  std::size_t steps = 10;
  CLI::App app(
      "Trains the first steps of a run again, in one process, and compares "
      "them with\nwhat the run left in hashes.bin. Where its sums were made "
      "in one order (with\n--virtual-ranks, on one rank or two, or by --comm "
      "ordered or shared on 4, 8, ...)\npictures, gradients and weights must "
      "be the same to the bit; else losses must be\nnear. Status 0 if so, 1 "
      "if not.",
      "ringlet verify");
  app.option_defaults()->always_capture_default();
  app.add_option("RUN", folder, "Folder of a run")->required();
  app.add_option("--steps", steps, "How many")->check(whole_number(1));
  app.add_option("--checkpoint", checkpoint,
                 "One of its checkpoints/step-N, to start from there")
      ->default_str("the start of the run");
  if (!parse_or_help(app, argc, argv)) return 0;

  const SavedRun run = read_saved_run(folder);
  std::optional<ResumePoint> from;
  if (!checkpoint.empty()) {
    from = find_resume_point(checkpoint);
    if (!std::filesystem::equivalent(from->run, folder)) {
      throw Error(fmt::format("--checkpoint {}: expected one of {}", checkpoint,
                              folder));
    }
  }
  const Comparison result = retrain(run, steps, from);
  if (result.steps == 0) {
    throw Error(
        fmt::format("{}: no hashes of the steps that were trained", folder));
  }
  if (result.parted.empty()) {
    fmt::print(
        "verified: {} steps of {} rank(s) in one process have the same "
        "pictures, gradients and weights, to the bit\n",
        result.steps, run.ranks);
    return 0;
  }
  const bool strict = has_same_order(run);
  const TrainOptions& options = run.options;
  const bool coarse =
      options.precision == "bf16" || options.precision == "f16" ||
      options.wire_dtype != "f32" || options.batch_norm == "synchronised";
  const double bound = coarse ? kCoarseBound : kBound;
  const bool near = !strict && result.same_data && result.largest <= bound;
  fmt::print(
      "{}: the bits part in {}{}:\n{}"
      "the largest difference of a loss in {} steps is {:.2g} of it, "
      "{} {:.0e}\n",
      near ? "verified" : "NOT verified", result.parted_in,
      near ? ", as sums in another order do" : "", result.parted, result.steps,
      result.largest, result.largest <= bound ? "within" : "beyond", bound);
  return near ? 0 : 1;
}

}  // namespace ringlet
