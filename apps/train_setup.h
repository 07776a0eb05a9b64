#pragma once

#include <memory>
#include <optional>
#include <string>

#include "collectives/communicator.h"
#include "engine/data/image_set.h"
#include "engine/io/run_directory.h"
#include "engine/train/checkpointer.h"
#include "engine/train/compute.h"
#include "engine/train/options.h"
#include "models/resnet.h"

// What `ringlet train` makes of its options before the first step.
namespace ringlet {

// Where a run goes that is not told: runs/MODEL-DATA-TIME.
std::string default_folder(const TrainOptions& options);

// "synthetic", or a folder with CIFAR-10's files.
Dataset load_data(const std::string& name);

ResNetOptions model_options(const TrainOptions& options, std::size_t classes);

// With its weights, drawn or read. `drawn`, if there is one, gets the names of
// those that --weights has in another shape, and which are drawn.
std::unique_ptr<ResNet> make_model(const TrainOptions& options,
                                   std::size_t classes,
                                   std::vector<std::string>* drawn = nullptr);

// All that a run needs before its first step. Made by all ranks together in
// three parts, so that what is quickly refused waits for nothing.
struct Setup {
  std::optional<RunDirectory> directory;  // rank 0's
  int columns = 0;                        // of its terminal
  Dataset data;
  TrainPlan plan;
  ComputeOptions compute;
  std::unique_ptr<ResNet> model;
  std::vector<std::string> drawn;  // parameters that --weights does not give
  std::string convolutions;        // how a GPU computes them

  Setup(const TrainOptions& options, const std::optional<ResumePoint>& from,
        Communicator& communicator);
};

}  // namespace ringlet
