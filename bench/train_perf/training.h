#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "bench/profile/allocations.h"
#include "collectives/communicator.h"
#include "engine/metrics/stopwatch.h"
#include "engine/optim/sgd.h"
#include "engine/parallel/data_parallel.h"
#include "engine/tensor/tensor.h"
#include "models/resnet.h"

namespace ringlet {

struct TrainPerfOptions {
  std::string model = "resnet50", conv = "auto", json;
  std::vector<std::string> comms;
  std::size_t batch = 128, steps = 10, warmup = 3;
  int threads = 0;
  bool each = false;
};

// One step of this rank.
struct Step {
  StepTimer time;
  long page_faults;
  AllocationCounts allocated;
};

// This rank's equal part of the batch.
struct Samples {
  Tensor images, labels;
  std::size_t global_count;

  Samples(std::size_t batch, const Communicator& ranks);
};

// A network, its optimizer and one batch of random pictures, which stays.
class Training {
 public:
  Training(const TrainPerfOptions& options, Communicator& communicator);

  Step step();

 private:
  Samples samples_;
  std::unique_ptr<ResNet> model_;
  DataParallel parallel_;
  SGD sgd_;
};

}  // namespace ringlet
