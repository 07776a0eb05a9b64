#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "engine/optim/schedule.h"

namespace ringlet {

// What `ringlet train` can be asked for; 0 or "" where the program decides.
struct TrainOptions {
  std::string model = "resnet50";
  std::string stem = "cifar";
  bool zero_init_residual = false;
  std::string init;  // weights to start from

  std::string data = "synthetic";  // or a folder with CIFAR-10's files
  bool augment = true;
  std::size_t cutout = 0;   // side of the square, in pixels; 0: none
  double mixup = 0;         // Beta's parameter; 0: none
  std::size_t workers = 1;  // threads that prepare batches, per rank

  std::size_t steps = 0;
  std::size_t epochs = 0;
  std::size_t batch_size = 0;      // of all ranks together
  std::size_t batch_per_rank = 0;  // the other way to say it

  std::size_t accumulate = 1;        // passes of a rank over its batch
  std::size_t virtual_ranks = 0;     // that ranks stand for; 0: each for itself
  std::string batch_norm = "local";  // or "averaged", "synchronised"

  double lr = 0.005;
  std::size_t base_batch = 0;  // lr is meant for this batch; 0: no scaling
  std::string schedule = "onecycle";
  std::vector<double> milestones;
  double gamma = 0.1;
  double warmup_epochs = 0;
  double momentum = 0.9;
  bool nesterov = false;
  std::string optimizer = "sgd";  // or "lars"
  double trust = 0.001;           // of lars
  double weight_decay = 5e-4;
  bool no_decay_bn_bias = false;
  double label_smoothing = 0;
  double clip_norm = 0;  // of all gradients; 0: no limit
  double ema_decay = 0;  // of the weights' average; 0: there is none

  std::string comm;         // "auto", "ring", "mpi", "solo", ...
  std::string comm_table;   // of "auto"; empty: the built-in one
  bool check_calls = true;  // that all ranks make the same one
  double timeout = 60;      // seconds that a call may wait; 0: for ever
  std::string fault;        // to go wrong on purpose; collectives/guard/fault.h
  double bucket_mb = 25;
  std::string wire_dtype = "f32";   // of gradients; or "bf16", "f16"
  bool hashes = true;               // of steps, in hashes.bin
  std::size_t check_weights = 100;  // steps between comparisons; 0: never
  std::string device = "auto";
  std::string precision = "auto";
  bool cuda_graph = true;     // steps on a GPU as one
  std::string conv = "auto";  // or "direct"
  std::size_t threads = 0;    // of the kernels, per rank
  std::uint64_t seed = 1;

  std::string recipe;  // that the other options started from
  std::string out;     // the run's folder
  std::string resume;  // a run's folder, or one of its checkpoints
  std::size_t checkpoint_steps = 0;   // 0: none between epochs
  std::size_t checkpoint_epochs = 1;  // 0: none at the end of epochs
  std::size_t keep = 3;               // checkpoints, beside the best
  std::size_t eval_every = 1;
  std::size_t log_every = 10;
  bool tensorboard = false;
  std::string trace;  // file; "": nothing is recorded
  // The steps it holds, counted as in the metrics; 0: the third to the fifth
  // after the start.
  std::size_t trace_first = 0, trace_last = 0;
};

inline constexpr std::size_t kDefaultSteps = 140;
inline constexpr std::size_t kDefaultBatch = 32;

nlohmann::ordered_json to_json(const TrainOptions& options);
// Reads what this or an earlier version wrote: an option that it lacks has its
// default, so a new option's default must be what came before it. Throws an
// Error that names the option which is unknown or of another type.
TrainOptions options_from_json(const nlohmann::ordered_json& json);

// Shards of a rank's batch, at most: a GPU adds so many losses at once.
inline constexpr std::size_t kMostShards = 64;

// What follows from the options once the data and the ranks are known.
struct TrainPlan {
  std::size_t global_batch;
  std::size_t shards;  // of a rank's part of it: passes, or virtual ranks
  std::size_t steps_per_epoch;
  std::size_t total_steps;
  ScheduleOptions schedule;
};

// All throw an Error naming the option and what was expected of it.
std::size_t shards_of_rank(const TrainOptions& options, std::size_t ranks);
std::size_t global_batch(const TrainOptions& options, std::size_t ranks);
TrainPlan make_plan(const TrainOptions& options, std::size_t pictures,
                    std::size_t ranks);

}  // namespace ringlet
