#include "apps/saved_model.h"

#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "collectives/mpi_scope.h"
#include "engine/data/cifar10.h"
#include "engine/data/synthetic.h"
#include "engine/io/checkpoint.h"
#include "engine/io/weights.h"
#include "engine/parallel/agreement.h"
#include "engine/train/checkpointer.h"
#include "kernels/runtime/error.h"

namespace ringlet {
namespace {

namespace fs = std::filesystem;

// Of a checkpoint: what the run evaluated.
fs::path weights_in(const fs::path& checkpoint) {
  const fs::path average = checkpoint / kAverageFile;
  return fs::exists(average) ? average : checkpoint / kModelFile;
}

ImageSet read_metadata(const SavedModel& model) {
  ImageSet set;
  try {
    const auto value = [&](const char* key) {
      return nlohmann::json::parse(model.metadata.at(key));
    };
    set.classes = value("classes").get<std::vector<std::string>>();
    set.mean = value("mean").get<decltype(set.mean)>();
    set.std = value("std").get<decltype(set.std)>();
  } catch (const std::exception& error) {
    throw Error(
        fmt::format("{}: its metadata are not as ringlet train writes them: {}",
                    model.file.string(), error.what()));
  }
  return set;
}

}  // namespace

fs::path find_weights(const fs::path& path) {
  if (!fs::is_directory(path)) return path;
  if (fs::exists(path / "manifest.json")) {
    return weights_in(read_checkpoint(path).folder);
  }
  if (fs::exists(path / kModelFile)) return path / kModelFile;
  if (fs::exists(path / "checkpoints")) {
    std::vector<std::string> rejected;
    const Checkpoint found =
        CheckpointFolder(path / "checkpoints").newest(rejected);
    for (const std::string& reason : rejected) {
      fmt::print(stderr, "ringlet: warning: passed over {}\n", reason);
    }
    return weights_in(found.folder);
  }
  throw Error(
      fmt::format("{}: no weights there, expected a safetensors file, the "
                  "folder of a run or one of its checkpoints/step-N",
                  path.string()));
}

const char* name_of(Stem stem) {
  return stem == Stem::kCifar ? "cifar" : "imagenet";
}

Metadata weights_metadata(const ResNetKind& kind, const ImageSet& data) {
  return {{"model", kind.name},
          {"stem", name_of(kind.options.stem)},
          {"classes", nlohmann::json(data.classes).dump()},
          {"mean", fmt::format("[{}]", fmt::join(data.mean, ", "))},
          {"std", fmt::format("[{}]", fmt::join(data.std, ", "))}};
}

std::string SavedModel::description() const {
  return fmt::format("{}, {} stem, {} classes, {} tensors", kind.name,
                     name_of(kind.options.stem), kind.options.classes, tensors);
}

SavedModel read_saved_model(const fs::path& path) {
  SavedModel model{find_weights(path), {}, {}, 0, nullptr};
  std::map<std::string, Shape> shapes;
  {
    const SafetensorsFile file = read_safetensors(model.file);
    model.metadata = file.metadata;
    for (const auto& [name, tensor] : file.tensors) {
      shapes[name] = tensor.shape();
    }
  }
  model.tensors = shapes.size();
  try {
    model.kind = recognize_resnet([&](const std::string& name) {
      const auto found = shapes.find(name);
      return found == shapes.end() ? nullptr : &found->second;
    });
    model.net = make_resnet(model.kind.name, model.kind.options);
  } catch (const Error& error) {
    throw Error(fmt::format("{}: {}", model.file.string(), error.what()));
  }
  load_weights(model.file, *model.net);
  return model;
}

ImageSet training_set_of(const SavedModel& model,
                         const std::string& trained_on) {
  ImageSet set;
  if (model.metadata.contains("classes")) {
    set = read_metadata(model);
  } else if (trained_on.empty()) {
    throw Error(fmt::format(
        "{}: does not say what its classes are: expected --trained-on cifar10 "
        "or synthetic",
        model.file.string()));
  } else {
    set = trained_on == "cifar10" ? empty_cifar10("CIFAR-10")
                                  : make_synthetic(0, 0).train;
  }
  if (set.classes.size() != model.kind.options.classes) {
    throw Error(fmt::format("{}: has {} classes, expected {}: {}",
                            model.file.string(), model.kind.options.classes,
                            set.classes.size(), fmt::join(set.classes, ", ")));
  }
  return set;
}

void expect_one_process(const char* command) {
  const int size = launch_info().size;
  if (size == 1) return;
  throw SharedError(fmt::format(
      "{} is for one process, but {} were started: expected no mpirun", command,
      size));
}

}  // namespace ringlet
