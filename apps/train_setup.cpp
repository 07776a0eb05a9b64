#include "apps/train_setup.h"

#include <fmt/chrono.h>

#include <ctime>

#include "apps/saved_model.h"
#include "apps/train_device.h"
#include "collectives/gpu/gpu_communicator.h"
#include "engine/data/cifar10.h"
#include "engine/data/synthetic.h"
#include "engine/io/weights.h"
#include "engine/metrics/progress.h"
#include "engine/parallel/agreement.h"
#include "kernels/runtime/cuda_library.h"
#include "kernels/runtime/error.h"

namespace ringlet {
namespace {

std::string data_name(const std::string& data) {
  return data == "synthetic" ? data : "cifar10";
}

}  // namespace

std::string default_folder(const TrainOptions& options) {
  const std::time_t now = std::time(nullptr);
  return fmt::format("runs/{}-{}-{:%Y%m%d-%H%M%S}", options.model,
                     data_name(options.data), fmt::localtime(now));
}

Dataset load_data(const std::string& name) {
  if (name == "synthetic") return make_synthetic();
  return read_cifar10(name);
}

ResNetOptions model_options(const TrainOptions& options, std::size_t classes) {
  return {.classes = classes,
          .stem = options.stem == "cifar" ? Stem::kCifar : Stem::kImageNet,
          .zero_init_residual = options.zero_init_residual};
}

std::unique_ptr<ResNet> make_model(const TrainOptions& options,
                                   std::size_t classes,
                                   std::vector<std::string>* drawn) {
  auto model = make_resnet(options.model, model_options(options, classes));
  model->initialize(options.seed);
  if (options.init.empty()) return model;
  std::vector<std::string> kept =
      load_weights(find_weights(options.init), *model, differs_by_task);
  if (drawn != nullptr) *drawn = std::move(kept);
  return model;
}

Setup::Setup(const TrainOptions& options,
             const std::optional<ResumePoint>& from,
             Communicator& communicator) {
  const auto ranks = static_cast<std::size_t>(communicator.size());
  agree(communicator, [&] {
    compute = compute_options(options.device, options.precision);
    compute.graph = options.cuda_graph;
    if (compute.device == Device::kCuda) use_own_gpu();
    if (options.comm == "nccl") check_nccl(compute);
    global_batch(options, ranks);
    if (communicator.rank() > 0) return;
    columns = terminal_columns();
    if (from) {
      directory.emplace(from->run, RunDirectory::Open::kContinue);
    } else {
      directory.emplace(options.out.empty() ? default_folder(options)
                                            : options.out);
    }
  });
  require_equal(
      communicator, "the device",
      fmt::format("{} {}", name_of(compute.device), precision_name(compute)));
  compute.nccl = takes_nccl(options, compute, communicator);
  agree(communicator, [&] {
    data = load_data(options.data);
    plan = make_plan(options, data.train.count(), ranks);
    if (from && from->position.steps_done > plan.total_steps) {
      throw Error(fmt::format(
          "{}: {} steps are done: expected more than the {} of --steps or "
          "--epochs",
          from->checkpoint.string(), from->position.steps_done,
          plan.total_steps));
    }
  });
  TrainOptions start = options;
  if (from) start.init = "";  // what it began with need not be there any more
  const auto make = [&] {
    return make_model(start, data.train.classes.size());
  };
  if (compute.device == Device::kCuda) {
    cuda::library().set_allow_tf32(compute.tf32);
    cuda::library().set_legacy_convolutions(options.conv == "direct");
  }
  convolutions =
      prepare_gpu(make, data, plan, compute,
                  directory ? read_convolutions(directory->path()) : "",
                  options.virtual_ranks == 0, communicator);
  agree(communicator, [&] {
    model = make_model(start, data.train.classes.size(), &drawn);
    model->to(compute.device);
  });
}

}  // namespace ringlet
