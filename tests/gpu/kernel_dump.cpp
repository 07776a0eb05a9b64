// Runs our CUDA kernels, without those of libraries, on inputs that are the
// same everywhere, and prints what comes out, a line for each array:
//
//   network.bf16.gamma.grad 0x1.8p+1 -0x1p-3 ...
//
// Built twice, for a GPU and for the emulator: scripts/gpu-check compares the
// two.
#include <fmt/format.h>

#include <cstdio>
#include <string>
#include <vector>

#include "engine/autograd/ops.h"
#include "engine/autograd/parameter_arena.h"
#include "engine/data/device_loader.h"
#include "engine/data/synthetic.h"
#include "engine/optim/sgd.h"
#include "kernels/backend.h"
#include "kernels/reduce.h"
#include "kernels/runtime/philox.h"

namespace ringlet {
namespace {

void print(const std::string& name, const Tensor& tensor) {
  fmt::print("{}", name);
  const Tensor host = tensor.to_layout(Layout::kPlain, Dtype::kF32).to_host();
  for (const float value : host.to_vector()) fmt::print(" {:a}", value);
  fmt::print("\n");
}

Tensor random_tensor(Shape shape, std::uint32_t seed, Dtype dtype) {
  const Tensor host(shape);
  PhiloxStream random(seed, RandomPurpose::kSyntheticData, 0, 0);
  for (std::size_t i = 0; i < host.count(); ++i) {
    host.data()[i] = 2 * random.uniform() - 1;
  }
  const Layout layout = shape.size() == 4
                            ? backend(Device::kCuda).activation_layout
                            : Layout::kPlain;
  return host.to(Device::kCuda).to_layout(layout, dtype);
}

// Forward, backward and update of a network that has a kernel of each kind; in
// f32, f16 or bf16.
void network(Dtype dtype) {
  constexpr std::int64_t kPictures = 6, kChannels = 24, kSize = 9;
  const std::string name = fmt::format("network.{}.", name_of(dtype));
  Variable x(random_tensor({kPictures, kChannels, kSize, kSize}, 1, dtype),
             true);
  Variable residual(
      random_tensor({kPictures, kChannels, kSize, kSize}, 2, dtype), true);
  Variable gamma(random_tensor({kChannels}, 3, Dtype::kF32), true);
  Variable beta(random_tensor({kChannels}, 4, Dtype::kF32), true);
  const auto running = [&] {
    return Tensor::zeros({kChannels}, Dtype::kF32, Layout::kPlain,
                         Device::kCuda);
  };
  const BatchNormState state{running(), running()};
  const ParameterArena arena({gamma, beta});
  SGD sgd(arena, {.momentum = 0.9f, .nesterov = true, .weight_decay = 1e-2f});
  const Variable normal =
      batch_norm(x, gamma, beta, state, {.relu = true, .residual = residual});
  const Variable pooled = max_pool2d(relu(add(normal, x)),
                                     {.kernel = 3, .stride = 2, .padding = 1});
  const Variable logits = global_average_pool(pooled);
  const Tensor labels =
      Tensor::zeros({kPictures}, Dtype::kI32, Layout::kPlain, Device::kCuda);
  const CrossEntropyOutput out =
      cross_entropy(logits, labels, {.label_smoothing = 0.1f});
  backward(out.loss);
  constexpr float kRate = 0.1f;
  sgd.step(kRate);
  print(name + "batch_norm", normal.data());
  print(name + "running_mean", state.running_mean);
  print(name + "running_var", state.running_var);
  print(name + "max_pool", pooled.data());
  print(name + "average_pool", logits.data());
  print(name + "loss", Tensor::of({}, {static_cast<float>(out.read().loss)}));
  print(name + "x.grad", x.grad());
  print(name + "residual.grad", residual.grad());
  print(name + "gamma.grad", gamma.grad());
  print(name + "beta.grad", beta.grad());
  print(name + "gamma.updated", gamma.data());
}

void augmentation(Dtype dtype) {
  const ImageSet images = make_synthetic().train;
  const auto loader = make_loader(images,
                                  DistributedSampler({.count = images.count(),
                                                      .global_batch = 8,
                                                      .seed = 5,
                                                      .rank = 0,
                                                      .world_size = 1}),
                                  {.augment = {.crop = true, .cutout = 8},
                                   .mixup = 0.5,
                                   .seed = 5,
                                   .device = Device::kCuda,
                                   .dtype = dtype});
  loader->start(3);
  print(fmt::format("augment.{}", name_of(dtype)), loader->next()->images);
}

void reductions(Dtype dtype) {
  constexpr std::int64_t kCount = 1001;
  const std::string name = fmt::format("reduce.{}.", name_of(dtype));
  std::vector<Tensor> arrays;
  std::vector<const void*> operands;
  for (std::uint32_t r = 0; r < 5; ++r) {
    arrays.push_back(random_tensor({kCount}, 10 + r, dtype));
    operands.push_back(arrays.back().raw());
  }
  const Tensor tree = arrays[0].clone();
  reduce_tree(Device::kCuda, tree.raw(), operands.data(), operands.size(),
              kCount, dtype, ReduceOp::kSum);
  print(name + "tree", tree);
  for (const ReduceOp op :
       {ReduceOp::kSum, ReduceOp::kProd, ReduceOp::kMin, ReduceOp::kMax}) {
    const Tensor result = arrays[0].clone();
    reduce(Device::kCuda, result.raw(), operands[1], kCount, dtype, op);
    print(name + name_of(op), result);
  }
  scale(Device::kCuda, tree.raw(), kCount, dtype, 0.2);
  print(name + "scale", tree);
}

}  // namespace
}  // namespace ringlet

int main() {
  using namespace ringlet;
  for (const Dtype dtype : {Dtype::kF32, Dtype::kF16, Dtype::kBF16}) {
    network(dtype);
    augmentation(dtype);
    reductions(dtype);
  }
}
