#include <fmt/ranges.h>

#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "apps/commands.h"
#include "apps/recipe.h"
#include "apps/saved_model.h"
#include "apps/signals.h"
#include "apps/train_device.h"
#include "apps/train_options.h"
#include "apps/train_ranks.h"
#include "apps/train_setup.h"
#include "apps/train_trace.h"
#include "collectives/activity.h"
#include "collectives/gpu/gpu_communicator.h"
#include "collectives/guard/crash_card.h"
#include "collectives/mpi_scope.h"
#include "collectives/mpi_version.h"
#include "engine/io/weights.h"
#include "engine/parallel/agreement.h"
#include "engine/train/checkpointer.h"
#include "engine/train/run_log.h"
#include "kernels/backend.h"
#include "kernels/runtime/check.h"
#include "kernels/runtime/threads.h"

namespace ringlet {
namespace {

// Where the run goes on, if it is one to be resumed: then its options count
// where the command line has none. Every rank reads it for itself.
struct Resume {
  std::optional<ResumePoint> point;
  std::string error;  // to be thrown once the ranks can agree on it

  Resume(int argc, char** argv, TrainOptions& options) {
    if (options.resume.empty()) return;
    try {
      point = find_resume_point(options.resume);
    } catch (const std::exception& reason) {
      error = reason.what();
      return;
    }
    const std::size_t batch = point->options.batch_size;
    options = point->options;
    parse_train_options(argc, argv, options);
    if (options.batch_per_rank > 0 || options.batch_size != batch) {
      error = fmt::format(
          "{}: goes on with its batch of {} pictures in all, since the place "
          "in the data depends on it: expected no other --batch-size",
          point->checkpoint.string(), batch);
    }
    if (options.init != point->options.init) {
      error = fmt::format(
          "--init {}: expected none with --resume, whose weights are those of "
          "the checkpoint",
          options.init);
    }
  }

  // What must be the same on all ranks.
  std::string signature() const {
    if (!point) return "";
    return fmt::format("{}\n{}", point->checkpoint.string(), point->sha256);
  }
};

// What a later run is to start from: this one's options, and the batch that
// its steps count.
TrainOptions for_checkpoints(TrainOptions options, const TrainPlan& plan) {
  options.batch_size = plan.global_batch;
  options.batch_per_rank = 0;
  options.out = options.resume = options.trace = "";
  options.fault = "";
  options.trace_first = options.trace_last = 0;
  return options;
}

// What the ranks do from here on is to be found in the run's folder, should
// they end badly.
void keep_calls(const std::optional<RunDirectory>& directory,
                Communicator& communicator) {
  agree(communicator, [&] {
    if (!directory) return;
    std::filesystem::remove_all(call_log_folder(directory->path().string()));
  });
  communicator.keep_calls(
      gather_text(communicator, directory ? directory->path().string() : "")
          .front());
}

// The options with what the program decided in place of what was left to it.
TrainOptions resolved(TrainOptions options, const Setup& setup, int threads,
                      const std::string& comm) {
  options.batch_size = setup.plan.global_batch;
  options.steps = setup.plan.total_steps;
  options.threads = static_cast<std::size_t>(threads);
  options.device = name_of(setup.compute.device);
  options.precision = precision_name(setup.compute);
  if (setup.directory) options.out = setup.directory->path().string();
  options.comm = setup.compute.nccl ? "nccl" : comm;
  if (!sends_messages(options.comm, setup.compute.device)) {
    options.wire_dtype = "f32";
  }
  return options;
}

// Those of them that are not the defaults.
std::string options_line(const TrainOptions& options) {
  const nlohmann::ordered_json defaults = to_json(TrainOptions());
  const nlohmann::ordered_json all = to_json(options);
  std::string line = "options  ";
  for (const auto& [name, value] : all.items()) {
    if (value == defaults.at(name)) continue;
    line += fmt::format(
        " {}={}", name,
        value.is_string() ? value.get<std::string>() : value.dump());
  }
  return line + "\n";
}

std::string rate_rule(const TrainOptions& options, const TrainPlan& plan) {
  const double lr = plan.schedule.base_lr;
  if (options.base_batch == 0) return fmt::format("{} (--lr, not scaled)", lr);
  return fmt::format("{} (--lr {} x batch {} / --base-batch {})", lr,
                     options.lr, plan.global_batch, options.base_batch);
}

// Takes what the run wrote after its checkpoint out of the way; says so.
void go_back_to(const ResumePoint& point, const RunDirectory& directory) {
  fmt::print("resumed   {}, after step {}\n", point.checkpoint.string(),
             point.position.steps_done);
  for (const std::string& reason : point.rejected) {
    fmt::print("warning   passed over {}\n", reason);
  }
  for (const auto& path : CheckpointFolder(directory.checkpoints())
                              .set_aside_after(point.position.steps_done)) {
    fmt::print("warning   a later checkpoint is now {}\n", path.string());
  }
  if (std::filesystem::exists(directory.weights())) {
    std::filesystem::rename(directory.weights(),
                            directory.weights().string() + ".old");
  }
  directory.cut_metrics(point.metrics_bytes);
}

// What the recipe says of itself, and whether that is so here.
void print_recipe(const TrainOptions& options, int ranks) {
  const Recipe recipe = read_recipe(options.recipe);
  std::istringstream lines(recipe.comment);
  std::string line;
  fmt::print("recipe    {}\n", recipe.file);
  while (std::getline(lines, line)) fmt::print("          {}\n", line);
  if (recipe.ranks > 0 && recipe.ranks != ranks) {
    fmt::print("warning   {} is for {} rank(s), expected mpirun -np {}\n",
               options.recipe, recipe.ranks, recipe.ranks);
  }
}

// How a rank goes through its part of a batch, where not in one pass.
std::string passes_of(const TrainOptions& options, const TrainPlan& plan) {
  if (options.virtual_ranks > 0) {
    return fmt::format(" as {} virtual ones", options.virtual_ranks);
  }
  return plan.shards > 1 ? fmt::format(" in {} passes", plan.shards) : "";
}

// Where the initial weights come from; "" where they are drawn.
std::string weights_line(const TrainOptions& options, const Setup& setup) {
  if (options.init.empty() || !options.resume.empty()) return "";
  const std::string file = find_weights(options.init).string();
  if (setup.drawn.empty()) return fmt::format("weights   {}\n", file);
  return fmt::format(
      "weights   {}, but for {}: of another shape there, drawn anew\n", file,
      fmt::join(setup.drawn, ", "));
}

void print_start(const TrainOptions& options, const Setup& setup,
                 Communicator& communicator, const DataParallel& parallel) {
  const TrainPlan& plan = setup.plan;
  const double epochs = static_cast<double>(plan.total_steps) /
                        static_cast<double>(plan.steps_per_epoch);
  fmt::print(
      "model     {} ({} stem), {} parameters in {} tensors\n"
      "{}"
      "data      {}: {} training and {} held-out pictures, {} classes, "
      "augmentation {}\n"
      "batch     {} in all, {} per rank on {} ranks{}; {} steps, {:.2f} "
      "epochs\n"
      "rate      {}, {}{}\n"
      "gradients {}, in {} buckets (--bucket-mb {})\n"
      "{}",
      options.model, options.stem, parallel.arena().parameter_count(),
      parallel.arena().slots().size(), weights_line(options, setup),
      options.data, setup.data.train.count(), setup.data.test.count(),
      setup.data.train.classes.size(), options.augment ? "on" : "off",
      plan.global_batch,
      static_cast<double>(plan.global_batch) / communicator.size(),
      communicator.size(), passes_of(options, plan), plan.total_steps, epochs,
      rate_rule(options, plan), options.schedule,
      options.warmup_epochs > 0
          ? fmt::format(", {} epochs of warm-up", options.warmup_epochs)
          : "",
      parallel.reducer().name(), parallel.buckets().size(), options.bucket_mb,
      options_line(options));
}

void print_ranks(Communicator& communicator, const ComputeOptions& compute,
                 int threads) {
  const LaunchInfo self = launch_info();
  const std::vector<std::string> ranks = gather_text(
      communicator,
      fmt::format("rank {:<4} {}, {} kernel thread(s), may run on core(s) {} "
                  "of {}{}",
                  self.rank, host_info().hostname, threads, allowed_cores(),
                  host_cores(), gpu_of(compute)));
  const std::vector<std::string> warnings =
      gather_text(communicator, warning_of(self, compute, threads));
  if (self.rank > 0) return;
  fmt::print("{}\n", fmt::join(ranks, "\n"));
  for (const std::string& warning :
       std::set<std::string>(warnings.begin(), warnings.end())) {
    if (!warning.empty()) fmt::print("warning   {}\n", warning);
  }
  std::fflush(stdout);
}

// Paths may hold bytes that are no UTF-8; JSON may not.
std::string to_text(const TrainOptions& options) {
  return to_json(options).dump(0, ' ', false,
                               nlohmann::json::error_handler_t::replace);
}

// Rank 0's part: what a run prints, and what it leaves in its folder.
class RunKeeper {
 public:
  RunKeeper(const TrainOptions& options, const TrainOptions& given,
            const Setup& setup, const std::optional<ResumePoint>& from,
            Trainer& trainer, Communicator& communicator)
      : directory_(*setup.directory),
        trainer_(trainer),
        communicator_(communicator),
        metadata_(weights_metadata(
            {options.model,
             model_options(options, setup.data.train.classes.size())},
            setup.data.train)) {
    if (from) go_back_to(*from, directory_);
    write_config(options, setup);
    directory_.write_convolutions(setup.convolutions);
    const std::size_t steps_done = from ? from->position.steps_done : 0;
    log_.emplace(directory_, options, setup.plan, steps_done, setup.columns,
                 std::cout);
    // What an earlier part of the run left has to be cut, in any case.
    if (options.hashes || std::filesystem::exists(directory_.hashes())) {
      hashes_.emplace(directory_.hashes(), trainer.parameter_names(),
                      steps_done);
    }
    checkpointer_.emplace(directory_, for_checkpoints(given, setup.plan),
                          *setup.model, trainer.optimizer(), trainer.average(),
                          metadata_);
    if (!options.recipe.empty() && !from) {
      print_recipe(options, communicator.size());
    }
    print_start(options, setup, communicator, trainer.parallel());
    if (options.wire_dtype != given.wire_dtype) {
      fmt::print("warning   --wire-dtype {}: nothing is rounded, since {}\n",
                 given.wire_dtype,
                 communicator.size() > 1 ? "the ranks share memory"
                                         : "there is one rank");
    }
  }

  TrainObserver observer() {
    return {.step =
                [this](const StepResult& result) {
                  log_->step(result);
                  if (result.hashes) hashes_->write(*result.hashes);
                },
            .epoch = [this](const EpochResult& result) { log_->epoch(result); },
            .checkpoint =
                [this](const TrainPosition& position,
                       std::optional<double> accuracy) {
                  save(position, accuracy);
                },
            .evaluating =
                [this](std::size_t done, std::size_t count) {
                  log_->evaluating(done, count);
                }};
  }

  // Once it has come to its end, or was stopped.
  void end(bool finished) {
    if (!finished && !not_saved_.empty()) {
      throw Error(fmt::format("stopped, as asked, but {}", not_saved_));
    }
    if (!finished) return log_->stopped();
    write_safetensors(directory_.weights(), named_tensors(trainer_.result()),
                      metadata_);
    log_->summary();
  }

 private:
  void write_config(const TrainOptions& options, const Setup& setup) {
    nlohmann::ordered_json config = to_json(options);
    config["ranks"] = communicator_.size();
    config["resume"] = "";
    directory_.write_config(config,
                            {.ringlet = RINGLET_VERSION,
                             .compiler = __VERSION__,
                             .onednn = backend_version(),
                             .mpi = mpi_version(),
                             .gpu = gpu_name(setup.compute)},
                            host_info());
  }

  void save(const TrainPosition& position, std::optional<double> accuracy) {
    const Activity activity(communicator_, EventKind::kCheckpoint,
                            position.steps_done);
    try {
      checkpointer_->save(position, accuracy);
      not_saved_.clear();
    } catch (const std::exception& error) {
      not_saved_ = error.what();
      log_->note(fmt::format("warning   {}", not_saved_));
    }
  }

  const RunDirectory& directory_;
  Trainer& trainer_;
  Communicator& communicator_;
  Metadata metadata_;
  std::optional<RunLog> log_;
  std::optional<HashLog> hashes_;
  std::optional<Checkpointer> checkpointer_;
  std::string not_saved_;  // why the last checkpoint could not be written
};

}  // namespace

int train_command(int argc, char** argv) {
  TrainRequests& requests = requests_by_signal();
  TrainOptions options;
  if (!parse_train_options(argc, argv, options)) return 0;
  const Resume resume(argc, argv, options);
  const std::optional<ResumePoint>& from = resume.point;
  // Before MPI starts: how it waits depends on how busy the cores are.
  const int threads = threads_per_rank(options);
  set_kernel_threads(threads);
  std::unique_ptr<Communicator> communicator = open_communicator(options);
  agree(*communicator, [&] {
    if (!resume.error.empty()) throw Error(resume.error);
  });
  require_equal(
      *communicator, "the configuration",
      to_text(options) + "\n" RINGLET_VERSION + "\n" + resume.signature());
  communicator = with_trace(options, from ? from->position.steps_done : 0,
                            std::move(communicator));
  if (options.conv == "direct") set_conv_algorithm(ConvAlgorithm::kDirect);

  Setup setup(options, from, *communicator);
  const TrainOptions found =
      resolved(options, setup, threads, communicator->name());
  keep_calls(setup.directory, *communicator);
  Trainer trainer(found, setup.plan, *setup.model, setup.data, *communicator,
                  setup.compute);
  if (from) {
    agree(*communicator, [&] {
      restore(*from, *setup.model, trainer.optimizer(), trainer.average());
    });
    trainer.resume(from->position);
  }
  std::optional<RunKeeper> keeper;
  agree(*communicator, [&] {
    if (!setup.directory) return;
    keeper.emplace(found, options, setup, from, trainer, *communicator);
  });
  print_ranks(*communicator, setup.compute, threads);
  const bool finished =
      trainer.run(keeper ? keeper->observer() : TrainObserver(), requests);
  agree(*communicator, [&] {
    if (keeper) keeper->end(finished);
  });
  write_trace(options, *communicator);
  return 0;
}

}  // namespace ringlet
