#include "engine/train/checkpointer.h"

#include <fmt/format.h>

#include "engine/io/durable_files.h"
#include "engine/io/weights.h"
#include "kernels/runtime/check.h"

namespace ringlet {
namespace {

constexpr const char* kOptimizerFile = "optimizer.safetensors";

std::size_t size_if_there(const std::filesystem::path& path) {
  std::error_code none;
  const auto bytes = std::filesystem::file_size(path, none);
  return none ? 0 : static_cast<std::size_t>(bytes);
}

// Without the trailing slash that completion in a shell adds.
std::filesystem::path plain(const std::filesystem::path& path) {
  const std::filesystem::path normal = path.lexically_normal();
  return normal.has_filename() ? normal : normal.parent_path();
}

Checkpoint find_checkpoint(const std::filesystem::path& path,
                           std::vector<std::string>& rejected) {
  if (std::filesystem::exists(path / "manifest.json")) {
    return read_checkpoint(path);
  }
  const std::filesystem::path all = path / "checkpoints";
  if (!std::filesystem::exists(all)) {
    throw Error(fmt::format(
        "{}: no checkpoint there, expected the folder of a run or one of its "
        "checkpoints/step-N",
        path.string()));
  }
  return CheckpointFolder(all).newest(rejected);
}

}  // namespace

Checkpointer::Checkpointer(const RunDirectory& directory,
                           const TrainOptions& options, const Module& model,
                           const SGD& optimizer, const WeightAverage* average,
                           Metadata metadata)
    : directory_(directory),
      options_(options),
      metadata_(std::move(metadata)),
      model_(model),
      optimizer_(optimizer),
      average_(average),
      folder_(directory.checkpoints()) {}

void Checkpointer::save(const TrainPosition& position,
                        std::optional<double> accuracy) {
  for (const auto& file : {directory_.metrics(), directory_.hashes()}) {
    if (std::filesystem::exists(file)) sync_file(file);
  }
  if (std::filesystem::exists(directory_.tensorboard())) {
    for (const auto& file :
         std::filesystem::directory_iterator(directory_.tensorboard())) {
      sync_file(file.path());
    }
  }
  std::vector<CheckpointFile> files{
      {kModelFile, named_tensors(model_.state()), metadata_},
      {kOptimizerFile, named_tensors(optimizer_.state()), {}}};
  if (average_ != nullptr) {
    files.push_back({kAverageFile,
                     named_tensors(average_->state(model_.state())),
                     metadata_});
  }
  folder_.save(files,
               {.step = position.steps_done,
                .score = accuracy,
                .more = {{"position", to_json(position)},
                         {"metrics_bytes", size_if_there(directory_.metrics())},
                         {"options", to_json(options_)}}});
  folder_.prune(options_.keep);
}

ResumePoint find_resume_point(const std::filesystem::path& path) {
  const std::filesystem::path given = plain(path);
  std::vector<std::string> rejected;
  const Checkpoint checkpoint = find_checkpoint(given, rejected);
  const nlohmann::ordered_json& more = checkpoint.state.more;
  const std::filesystem::path whole_path =
      std::filesystem::absolute(checkpoint.folder);
  if (whole_path.parent_path().filename() != "checkpoints" ||
      checkpoint.folder.filename() !=
          fmt::format("step-{}", checkpoint.state.step)) {
    throw Error(fmt::format(
        "{}: not where its run left it, expected RUN/checkpoints/step-{}",
        checkpoint.folder.string(), checkpoint.state.step));
  }
  std::filesystem::path run = checkpoint.folder.parent_path().parent_path();
  if (run.empty()) run = whole_path.parent_path().parent_path();
  try {
    return {.run = run,
            .checkpoint = checkpoint.folder,
            .sha256 = checkpoint.sha256,
            .options = options_from_json(more.at("options")),
            .position = position_from_json(more.at("position")),
            .metrics_bytes = more.at("metrics_bytes"),
            .rejected = rejected};
  } catch (const std::exception& error) {
    throw Error(fmt::format("{}: not a checkpoint of this program: {}",
                            checkpoint.folder.string(), error.what()));
  }
}

void restore(const ResumePoint& point, Module& model, const SGD& optimizer,
             const WeightAverage* average) {
  load_weights(point.checkpoint / kModelFile, model);
  load_state(point.checkpoint / kOptimizerFile, optimizer.state());
  if (average == nullptr) return;
  const std::filesystem::path file = point.checkpoint / kAverageFile;
  if (std::filesystem::exists(file)) {
    load_state(file, average->state(model.state()));
  } else {
    average->start();
  }
}

}  // namespace ringlet
