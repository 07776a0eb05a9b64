#include "apps/train_options.h"

#include <fmt/ranges.h>

#include <limits>
#include <optional>
#include <tuple>

#include "apps/cli.h"
#include "apps/recipe.h"
#include "apps/train_help.h"
#include "collectives/communicator.h"
#include "collectives/guard/fault.h"
#include "collectives/mpi_scope.h"
#include "engine/parallel/agreement.h"
#include "kernels/runtime/number.h"
#include "models/resnet.h"

namespace ringlet {
namespace {

// The system may refuse so many threads, and OpenMP then dies without a word.
constexpr std::uint64_t kMostThreads = 1024;

// Larger than any picture.
constexpr std::uint64_t kMostPixels = 1024;

// "A:B" as two numbers; nothing where it is no range of steps.
std::optional<std::pair<std::size_t, std::size_t>> parse_steps(
    const std::string& text) {
  const std::size_t colon = text.find(':');
  if (colon == std::string::npos) return {};
  const auto first = parse_number<std::size_t>(text.substr(0, colon));
  const auto last = parse_number<std::size_t>(text.substr(colon + 1));
  if (!first || !last) return {};
  if (*first < 1 || *last < *first || *last > kLargestCount) return {};
  return std::pair{*first, *last};
}

const CLI::Validator kSteps(
    [](const std::string& text) {
      if (parse_steps(text)) return std::string();
      return fmt::format("'{}', expected FIRST:LAST, 1 or more", text);
    },
    "");

const CLI::Validator kFault(
    [](const std::string& text) {
      try {
        parse_fault(text);
        return std::string();
      } catch (const Error& error) {
        return std::string(error.what());
      }
    },
    "");

void add_model(CLI::App& app, TrainOptions& o) {
  app.option_defaults()->group("Model");
  app.add_option("--model", o.model, "Network")
      ->check(CLI::IsMember(resnet_names()));
  app.add_option("--stem", o.stem,
                 "First layers: cifar (3x3 at full size) or imagenet (7x7 "
                 "with stride 2, max-pool)")
      ->check(CLI::IsMember({"cifar", "imagenet"}));
  app.add_option("--init,--weights", o.init,
                 "Weights to start from: a safetensors file with torchvision's "
                 "names, a run or a checkpoint. Of another number of classes, "
                 "or another --stem, those of fc or conv1 are drawn anew")
      ->default_str("");
  app.add_flag("--zero-init-residual", o.zero_init_residual,
               "Start each block as the identity: zero gamma in its last batch "
               "norm");
}

void add_data(CLI::App& app, TrainOptions& o) {
  app.option_defaults()->group("Data");
  app.add_option("--data", o.data,
                 "\"synthetic\" (built in) or a folder with CIFAR-10's "
                 "data_batch_1.bin ... and test_batch.bin");
  app.add_option_function<std::string>(
         "--augment", [&o](const std::string& v) { o.augment = v == "on"; },
         "Random crops after padding by 4, and flips")
      ->check(CLI::IsMember({"on", "off"}))
      ->default_str("on");
  app.add_option("--cutout", o.cutout,
                 "Side in pixels of a square that is cut out of each training "
                 "picture, at any place; 0: none")
      ->check(whole_number(0, kMostPixels));
  app.add_option("--mixup", o.mixup,
                 "Mix each training picture and its label with another's, by "
                 "shares from Beta(A, A); usual: 0.2; 0: none")
      ->check(kBeta);
  app.add_option("--workers", o.workers,
                 "Threads per rank that prepare batches; 0: none")
      ->check(whole_number(0, kMostThreads));
}

void add_length(CLI::App& app, TrainOptions& o) {
  app.option_defaults()->group("Length and batch");
  auto* steps = app.add_option("--steps", o.steps, "Optimizer steps")
                    ->default_str(std::to_string(kDefaultSteps))
                    ->check(whole_number(1));
  app.add_option("--epochs", o.epochs, "Passes over the data, instead of steps")
      ->default_str("")
      ->check(whole_number(1))
      ->excludes(steps);
  auto* batch = app.add_option("--batch-size", o.batch_size,
                               "Pictures of all ranks in a step")
                    ->default_str(std::to_string(kDefaultBatch))
                    ->check(whole_number(1));
  app.add_option("--batch-per-rank", o.batch_per_rank,
                 "Pictures of each rank in a step, instead of --batch-size")
      ->default_str("")
      ->check(whole_number(1))
      ->excludes(batch);
  auto* passes =
      app.add_option("--accumulate", o.accumulate,
                     "Passes of each rank over its part of a batch, whose "
                     "gradients are added: for batches that memory does not "
                     "hold")
          ->check(whole_number(1, kMostShards));
  app.add_option("--virtual-ranks", o.virtual_ranks,
                 "Reproducible: compute what so many ranks would, to the bit, "
                 "on as many or fewer; a power of two")
      ->default_str("")
      ->check(whole_number(1, kMostShards))
      ->excludes(passes);
  app.add_option("--eval-every", o.eval_every,
                 "Epochs between evaluations; the end is always evaluated")
      ->check(whole_number(1));
}

void add_optimizer(CLI::App& app, TrainOptions& o) {
  app.option_defaults()->group("Optimizer");
  app.add_option("--optimizer", o.optimizer,
                 "sgd, or lars for large batches: SGD whose rate is adapted to "
                 "the norms of each parameter and its gradient")
      ->check(CLI::IsMember({"sgd", "lars"}));
  app.add_option("--trust", o.trust,
                 "lars: the part of a parameter's norm that a step of rate 1 "
                 "changes")
      ->check(kPositive);
  app.add_option("--lr", o.lr, "Learning rate")->check(kPositive);
  app.add_option("--base-batch", o.base_batch,
                 "The batch --lr is meant for: the rate becomes lr x batch / "
                 "base-batch; 0: no scaling")
      ->check(whole_number(0));
  app.add_option("--schedule", o.schedule, "How the rate changes")
      ->check(CLI::IsMember({"constant", "multistep", "cosine", "onecycle"}));
  app.add_option("--milestones", o.milestones,
                 "multistep: epochs at which the rate is multiplied by --gamma")
      ->delimiter(',')
      ->default_str("")
      ->check(kNotNegative);
  app.add_option("--gamma", o.gamma, "multistep: the factor")->check(kPositive);
  app.add_option("--warmup-epochs", o.warmup_epochs,
                 "Epochs in which the rate rises linearly to its start")
      ->check(kNotNegative);
  app.add_option(
         "--batch-norm", o.batch_norm,
         "local (the statistics are each rank's own; rank 0's running ones are "
         "evaluated and saved), averaged (the running ones, over the ranks in "
         "each step) or synchronised (of all ranks' pictures)")
      ->check(CLI::IsMember({"local", "averaged", "synchronised"}));
  app.add_option("--momentum", o.momentum, "Momentum of SGD")->check(kShare);
  app.add_flag("--nesterov", o.nesterov, "Nesterov's momentum");
  app.add_option("--weight-decay", o.weight_decay, "L2 penalty")
      ->check(kNotNegative);
  app.add_flag("--no-decay-bn-bias", o.no_decay_bn_bias,
               "Spare biases and batch norm from weight decay");
  app.add_option("--label-smoothing", o.label_smoothing,
                 "Share of the target that is spread over all classes")
      ->check(kShare);
  app.add_option("--clip-norm", o.clip_norm,
                 "The largest norm of the gradient of all parameters, summed "
                 "over the ranks; a larger one is scaled down; 0: no limit")
      ->check(kNotNegative);
  app.add_option("--ema-decay", o.ema_decay,
                 "Keep an exponential moving average of the weights, in each "
                 "step so much of the old one, and evaluate and save that; "
                 "usual: 0.999; 0: none")
      ->check(kDecay);
  app.add_option("--seed", o.seed,
                 "Of initial weights, order of pictures and augmentation")
      ->check(whole_number(0, std::numeric_limits<std::uint64_t>::max()));
}

std::vector<std::string> comm_names() {
  std::vector<std::string> names = communicator_names();
  names.emplace_back("nccl");
  return names;
}

void add_ranks(CLI::App& app, TrainOptions& o) {
  app.add_option(
         "--comm", o.comm,
         "All-reduce: auto (in memory that the ranks of a host share, or by "
         "size, from a table), our algorithms over MPI, shared, mpi "
         "(MPI_Allreduce), nccl (gradients on GPUs; auto does so where each "
         "rank has one), or solo (one rank)")
      ->check(CLI::IsMember(comm_names()))
      ->default_str("auto; solo without mpirun");
  app.add_option("--comm-table", o.comm_table,
                 "The table of --comm auto, as allreduce_perf --tune writes it")
      ->default_str("built in")
      ->check(CLI::ExistingFile);
  app.add_option("--timeout", o.timeout,
                 "Seconds that a rank waits for another before the job ends; "
                 "0: for ever")
      ->check(kNotNegative);
  app.add_option_function<std::string>(
         "--check-calls",
         [&o](const std::string& v) { o.check_calls = v == "on"; },
         "Whether ranks that make different calls are an error: off saves "
         "microseconds and lets them hang, or add what does not belong "
         "together")
      ->check(CLI::IsMember({"on", "off"}))
      ->default_str("on");
  app.add_option(
         "--fault", o.fault,
         "Lets something go wrong, to see what happens: " + fault_help())
      ->default_str("")
      ->check(kFault);
  app.add_option("--bucket-mb", o.bucket_mb,
                 "MiB of gradients per all-reduce; the first takes 1 MiB")
      ->check(kMib);
  app.add_option("--wire-dtype", o.wire_dtype,
                 "What gradients are rounded to on their way between ranks, "
                 "and by all but ordered after each sum: f32 (not at all), "
                 "bf16 or f16; memory that the ranks of a host share keeps "
                 "f32")
      ->check(CLI::IsMember({"f32", "bf16", "f16"}));
  app.add_option("--check-weights", o.check_weights,
                 "Steps between comparisons of the ranks' weights, which must "
                 "be the same; 0: never")
      ->check(whole_number(0));
}

void add_machine(CLI::App& app, TrainOptions& o) {
  app.option_defaults()->group("Ranks and machine");
  add_ranks(app, o);
  app.add_option(
         "--device", o.device,
         "Where to compute: auto takes a GPU where one can be used; the "
         "ranks of a host take its GPUs in turn")
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}));
  app.add_option(
         "--precision", o.precision,
         "What convolutions and linear layers multiply: auto (bf16 on a "
         "GPU, f32 elsewhere), f32, tf32, bf16 or f16, which scales "
         "the loss as it must. The CPU has f32, and bf16 with AVX-512")
      ->check(CLI::IsMember({"auto", "f32", "tf32", "bf16", "f16"}));
  app.add_option_function<std::string>(
         "--cuda-graph",
         [&o](const std::string& v) { o.cuda_graph = v == "on"; },
         "Whether a rank alone on a GPU records its steps as one CUDA graph, "
         "which takes the host out of them")
      ->check(CLI::IsMember({"on", "off"}))
      ->default_str("on");
  app.add_option("--threads", o.threads, "Threads of the kernels, per rank")
      ->default_str("cores / ranks on this host, or / virtual ranks")
      ->check(whole_number(1, kMostThreads));
  app.add_option(
         "--conv", o.conv,
         "Convolutions: auto (by a table, Winograd where it is faster; on "
         "a GPU the fastest that cuDNN and cuBLAS have) or direct (on a "
         "GPU cuDNN's former interface)")
      ->check(CLI::IsMember({"auto", "direct"}));
}

void add_output(CLI::App& app, TrainOptions& o) {
  app.option_defaults()->group("Output and checkpoints");
  auto* out =
      app.add_option("--out", o.out, "Folder of the run; must not hold one yet")
          ->default_str("runs/MODEL-DATA-TIME");
  app.add_option("--resume", o.resume,
                 "Run to go on with: its folder (the newest checkpoint that is "
                 "whole) or one of its checkpoints/step-N. Its options hold "
                 "where none is given here")
      ->default_str("")
      ->excludes(out);
  app.add_option("--checkpoint-steps", o.checkpoint_steps,
                 "Steps between checkpoints; 0: none between epochs")
      ->check(whole_number(0));
  app.add_option("--checkpoint-epochs", o.checkpoint_epochs,
                 "Epochs between checkpoints; 0: none at their ends")
      ->check(whole_number(0));
  app.add_option_function<std::string>(
         "--hashes", [&o](const std::string& v) { o.hashes = v == "on"; },
         "Whether hashes.bin gets a hash of each step's data, gradients and "
         "weights, for ringlet diff and ringlet verify")
      ->check(CLI::IsMember({"on", "off"}))
      ->default_str("on");
  app.add_option("--keep", o.keep,
                 "Checkpoints to keep: the newest so many, and the best one")
      ->check(whole_number(1));
  app.add_option("--log-every", o.log_every,
                 "Steps between lines where there is no terminal")
      ->check(whole_number(1));
  app.add_flag("--tensorboard", o.tensorboard,
               "Write the metrics for TensorBoard too, to tensorboard/ in the "
               "run's folder");
}

void add_trace(CLI::App& app, TrainOptions& o) {
  app.option_defaults()->group("Trace");
  auto* trace = app.add_option("--trace", o.trace,
                               "File for what the ranks send, receive and add, "
                               "for ui.perfetto.dev; of our own algorithms")
                    ->default_str("");
  app.add_option_function<std::string>(
         "--trace-steps",
         [&o](const std::string& text) {
           std::tie(o.trace_first, o.trace_last) = *parse_steps(text);
         },
         "Steps to trace, FIRST:LAST")
      ->default_str("the third to the fifth")
      ->check(kSteps)
      ->needs(trace);
}

bool parse(int argc, char** argv, TrainOptions& options) {
  CLI::App app(kDescription, "ringlet train");
  app.footer(kExamples);
  app.option_defaults()->always_capture_default();
  auto* recipe =
      app.add_option("--recipe", options.recipe,
                     fmt::format("Options to start from, where none is given "
                                 "here: {}, or the path of a file like those "
                                 "in recipes/",
                                 fmt::join(recipe_names(), ", ")))
          ->default_str("");
  add_data(app, options);
  add_model(app, options);
  add_length(app, options);
  add_optimizer(app, options);
  add_machine(app, options);
  add_output(app, options);
  add_trace(app, options);
  app.get_option("--resume")->excludes(recipe);
  if (!parse_or_help(app, argc, argv)) return false;
  // One of two that exclude each other may come from a recipe or a checkpoint.
  if (app.count("--steps") > 0) options.epochs = 0;
  if (app.count("--batch-per-rank") > 0) options.batch_size = 0;
  if (app.count("--batch-size") > 0) options.batch_per_rank = 0;
  if (app.count("--accumulate") > 0) options.virtual_ranks = 0;
  if (app.count("--virtual-ranks") > 0) options.accumulate = 1;
  return true;
}

void use_recipe(const Recipe& recipe, TrainOptions& options) {
  std::vector<std::string> arguments{"train"};
  arguments.insert(arguments.end(), recipe.arguments.begin(),
                   recipe.arguments.end());
  std::vector<char*> pointers;
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  try {
    parse(static_cast<int>(pointers.size()), pointers.data(), options);
  } catch (const SharedError& error) {
    throw SharedError(fmt::format("{}: {}", recipe.file, error.what()));
  }
}

}  // namespace

CommunicatorOptions communicator_options(const TrainOptions& options) {
  return {.guard = GuardOptions{.check_calls = options.check_calls,
                                .timeout_seconds = options.timeout},
          .algorithm_table = options.comm_table,
          .fault = options.fault};
}

bool parse_train_options(int argc, char** argv, TrainOptions& options) {
  TrainOptions given = options;
  if (!parse(argc, argv, given)) return false;
  if (!given.recipe.empty() && given.resume.empty()) {
    use_recipe(read_recipe(given.recipe), options);
    given = options;
    parse(argc, argv, given);
  }
  options = given;
  return true;
}

}  // namespace ringlet
