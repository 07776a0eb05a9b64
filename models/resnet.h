#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/nn/layers.h"

namespace ringlet {

// The first layers: kCifar is a 3x3 convolution at full size, for pictures of
// 32x32; kImageNet is 7x7 with stride 2 and a max-pool, for 224x224.
enum class Stem { kCifar, kImageNet };

struct ResNetOptions {
  std::size_t classes = 10;
  Stem stem = Stem::kCifar;
  // Starts each block as the identity: the gamma of its last batch norm is 0.
  bool zero_init_residual = false;
};

// y = relu(x' + F(x)), where x' is x, or its projection where sizes change.
class ResidualBlock : public Module {
 public:
  // The batch norm that ends F.
  virtual const BatchNorm2d& last_norm() const = 0;

 protected:
  // A strided 1x1 convolution and batch norm, where the shapes differ.
  void add_downsample(std::size_t in, std::size_t out, std::size_t stride);
  Variable shortcut(const Variable& x);

 private:
  std::unique_ptr<Sequential> downsample_;
};

// Residual networks of He et al., "Deep residual learning for image
// recognition" (2015), with torchvision's names and initialisation; a
// bottleneck's stride is in its 3x3 convolution, as there.
class ResNet final : public Module {
 public:
  struct Architecture {
    bool bottleneck;
    std::vector<std::size_t> blocks;  // per stage
    std::size_t width;                // channels of the first stage
  };

  ResNet(const Architecture& architecture, const ResNetOptions& options);

  // x [n, 3, h, w] -> logits [n, classes]
  Variable forward(const Variable& x) override;

 private:
  void after_initialize() override;

  ResNetOptions options_;
  Conv2d conv1_;
  BatchNorm2d bn1_;
  std::vector<std::unique_ptr<Sequential>> layers_;  // layer1, layer2, ...
  std::vector<const ResidualBlock*> blocks_;
  std::unique_ptr<Linear> fc_;
};

// Channels after a block of the given kind over the inner width.
constexpr std::size_t kBottleneckExpansion = 4;

// "resnet18", "resnet34", "resnet50", "resnet101", "resnet152" with either
// stem; "resnet20", "resnet32", "resnet44", "resnet56", the CIFAR networks of
// the paper's section 4.2 (with projection shortcuts), with the CIFAR stem
// only. Throws Error listing the names. Not yet initialised.
std::unique_ptr<ResNet> make_resnet(const std::string& name,
                                    const ResNetOptions& options);
std::vector<std::string> resnet_names();

// One of those networks, and how it was made.
struct ResNetKind {
  std::string name;
  ResNetOptions options;
};

// The network to which tensors belong; `shape_of` gives the shape of the one
// with that name, or null. Looks at a few only. Throws an Error that says why
// it is none of resnet_names().
ResNetKind recognize_resnet(
    const std::function<const Shape*(const std::string&)>& shape_of);

// Whether a tensor may differ so from the model's where trained weights begin
// on another task: the classifier (fc) in the number of its classes, the first
// convolution in the size of its kernel.
bool differs_by_task(const std::string& name, const Shape& one,
                     const Shape& other);

}  // namespace ringlet
