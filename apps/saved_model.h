#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "engine/data/image_set.h"
#include "engine/io/safetensors.h"
#include "models/resnet.h"

// Weights that lie in files: what `ringlet train` leaves, and what others do.
namespace ringlet {

// The safetensors file that is meant by a file, by the folder of a run (its
// final weights, or else those of its newest whole checkpoint) or by that of a
// checkpoint, whose bytes are then compared with its manifest; of a checkpoint
// the weights' average where it has one. Throws an Error where there is none.
std::filesystem::path find_weights(const std::filesystem::path& path);

// What a file of weights says of itself, each a string: "model", "stem", and as
// JSON arrays "classes" (the names), "mean" and "std" (by which pictures were
// normalised).
Metadata weights_metadata(const ResNetKind& kind, const ImageSet& data);

struct SavedModel {
  std::filesystem::path file;
  Metadata metadata;
  ResNetKind kind;
  std::size_t tensors;  // in the file
  std::unique_ptr<ResNet> net;

  // "resnet50, cifar stem, 10 classes, 320 tensors".
  std::string description() const;
};

// Whatever network the tensors in the file belong to. Throws an Error that
// names the file, the tensor and what was expected.
SavedModel read_saved_model(const std::filesystem::path& path);

// A set without pictures that has the classes, mean and deviation of what the
// model was trained on: as its file says, else as `trained_on` does, "cifar10"
// or "synthetic". Throws an Error where neither does, or where they do not fit.
ImageSet training_set_of(const SavedModel& model,
                         const std::string& trained_on);

// Throws a SharedError where mpirun started several processes of that command.
void expect_one_process(const char* command);

const char* name_of(Stem stem);

}  // namespace ringlet
