// Computes one step, or a few, from files to files: what
// bench/peers/torch_parity.py compares with PyTorch.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>

#include "engine/autograd/ops.h"
#include "engine/io/weights.h"
#include "engine/optim/sgd.h"
#include "kernels/backend.h"
#include "kernels/runtime/error.h"
#include "models/resnet.h"

namespace {

using namespace ringlet;

struct Options {
  std::string model = "resnet50", stem = "cifar", conv = "auto";
  std::size_t classes = 10;
  std::uint64_t init_seed = 1;
  std::string weights, save_weights, batch, out;
  bool eval = false;
  std::size_t steps = 0;
  float lr = 0.01f, momentum = 0, weight_decay = 0;
};

struct Samples {
  Tensor images, labels;
};

// The i-th of `parts` equal parts of the batch.
Samples part_of(const Samples& all, std::size_t i, std::size_t parts) {
  const auto samples = static_cast<std::size_t>(all.labels.dim(0));
  if (samples == 0 || samples % parts != 0) {
    throw Error(fmt::format(
        "a batch of {} samples cannot be cut into {} equal parts, one for each "
        "of --steps",
        samples, parts));
  }
  const std::size_t count = samples / parts;
  Shape shape = all.images.shape();
  shape[0] = static_cast<std::int64_t>(count);
  Samples part{Tensor(shape), Tensor({shape[0]}, Dtype::kI32)};
  std::copy_n(all.images.data() + i * part.images.count(), part.images.count(),
              part.images.data());
  std::copy_n(all.labels.data<std::int32_t>() + i * count, count,
              part.labels.data<std::int32_t>());
  return part;
}

Tensor scalar(double value) {
  return Tensor::of({1}, {static_cast<float>(value)});
}

std::vector<NamedTensor> one_step(Module& model, const Samples& samples,
                                  bool eval) {
  model.train(!eval);
  const Variable logits = model.forward(Variable(samples.images));
  const CrossEntropyOutput out = cross_entropy(logits, samples.labels);
  std::vector<NamedTensor> result{{"logits", logits.data()},
                                  {"loss", scalar(out.read().loss)}};
  if (eval) return result;
  backward(out.loss);
  for (const Variable& parameter : model.parameters()) {
    result.push_back({"grad." + parameter.name(), parameter.grad()});
  }
  return result;
}

std::vector<NamedTensor> train(Module& model, const Samples& samples,
                               const Options& options) {
  const ParameterArena arena(model.parameters());
  SGD sgd(arena,
          {.momentum = options.momentum, .weight_decay = options.weight_decay});
  Tensor losses({static_cast<std::int64_t>(options.steps)});
  for (std::size_t step = 0; step < options.steps; ++step) {
    const Samples batch = part_of(samples, step, options.steps);
    arena.zero_grad();
    const CrossEntropyOutput out =
        cross_entropy(model.forward(Variable(batch.images)), batch.labels);
    backward(out.loss);
    sgd.step(options.lr);
    losses.data()[step] = static_cast<float>(out.read().loss);
  }
  return {{"losses", losses}};
}

void run(const Options& options) {
  if (options.conv == "direct") set_conv_algorithm(ConvAlgorithm::kDirect);
  const auto model = make_resnet(
      options.model,
      {.classes = options.classes,
       .stem = options.stem == "cifar" ? Stem::kCifar : Stem::kImageNet});
  model->initialize(options.init_seed);
  if (!options.weights.empty()) load_weights(options.weights, *model);
  if (!options.batch.empty()) {
    const SafetensorsFile file = read_safetensors(options.batch);
    const Tensor* images = file.find("images");
    const Tensor* labels = file.find("labels");
    if (images == nullptr || labels == nullptr) {
      throw Error(options.batch + ": expected tensors 'images' and 'labels'");
    }
    const Samples samples{*images, *labels};
    write_safetensors(options.out,
                      options.steps > 0
                          ? train(*model, samples, options)
                          : one_step(*model, samples, options.eval));
  }
  if (!options.save_weights.empty()) {
    save_weights(options.save_weights, *model);
  }
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  CLI::App app("Computes training steps from files to files.", "step_dump");
  app.option_defaults()->always_capture_default();
  app.add_option("--model", o.model, "Network")
      ->check(CLI::IsMember(resnet_names()));
  app.add_option("--stem", o.stem, "First layers")
      ->check(CLI::IsMember({"cifar", "imagenet"}));
  app.add_option("--classes", o.classes, "Classes");
  app.add_option("--conv", o.conv, "Convolutions")
      ->check(CLI::IsMember({"auto", "direct"}));
  app.add_option("--init-seed", o.init_seed, "Seed of the initial weights");
  app.add_option("--weights", o.weights, "Weights to read instead");
  auto* batch = app.add_option("--batch", o.batch,
                               "File with images [n, 3, h, w] and labels [n]");
  auto* out = app.add_option("--out", o.out,
                             "File for logits, loss and gradients, or losses");
  batch->needs(out);
  app.add_flag("--eval", o.eval, "Evaluation mode, no gradients");
  app.add_option("--steps", o.steps,
                 "SGD steps, each on its part of the batch; 0: gradients only");
  app.add_option("--lr", o.lr, "Learning rate of the steps");
  app.add_option("--momentum", o.momentum, "Momentum of the steps");
  app.add_option("--weight-decay", o.weight_decay, "Weight decay of the steps");
  app.add_option("--save-weights", o.save_weights,
                 "File for the weights at the end");
  CLI11_PARSE(app, argc, argv);
  try {
    run(o);
  } catch (const std::exception& error) {
    fmt::print(stderr, "step_dump: {}\n", error.what());
    return 1;
  }
}
