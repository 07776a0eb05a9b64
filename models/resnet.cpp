#include "models/resnet.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "engine/nn/init.h"
#include "kernels/runtime/check.h"

namespace ringlet {
namespace {

// Two 3x3 convolutions.
class BasicBlock final : public ResidualBlock {
 public:
  BasicBlock(std::size_t in, std::size_t width, std::size_t stride)
      : conv1_({.in = in,
                .out = width,
                .kernel = 3,
                .stride = stride,
                .padding = 1}),
        bn1_(width),
        conv2_({.in = width, .out = width, .kernel = 3, .padding = 1}),
        bn2_(width) {
    add_module("conv1", conv1_);
    add_module("bn1", bn1_);
    add_module("conv2", conv2_);
    add_module("bn2", bn2_);
    add_downsample(in, width, stride);
  }

  Variable forward(const Variable& x) override {
    const Variable y = bn1_.forward_relu(conv1_.forward(x));
    return bn2_.forward_relu(conv2_.forward(y), shortcut(x));
  }

  const BatchNorm2d& last_norm() const override { return bn2_; }

 private:
  Conv2d conv1_;
  BatchNorm2d bn1_;
  Conv2d conv2_;
  BatchNorm2d bn2_;
};

// 1x1 to fewer channels, 3x3, 1x1 to four times as many.
class Bottleneck final : public ResidualBlock {
 public:
  Bottleneck(std::size_t in, std::size_t width, std::size_t stride)
      : conv1_({.in = in, .out = width, .kernel = 1}),
        bn1_(width),
        conv2_({.in = width,
                .out = width,
                .kernel = 3,
                .stride = stride,
                .padding = 1}),
        bn2_(width),
        conv3_({.in = width, .out = width * kBottleneckExpansion, .kernel = 1}),
        bn3_(width * kBottleneckExpansion) {
    add_module("conv1", conv1_);
    add_module("bn1", bn1_);
    add_module("conv2", conv2_);
    add_module("bn2", bn2_);
    add_module("conv3", conv3_);
    add_module("bn3", bn3_);
    add_downsample(in, width * kBottleneckExpansion, stride);
  }

  Variable forward(const Variable& x) override {
    Variable y = bn1_.forward_relu(conv1_.forward(x));
    y = bn2_.forward_relu(conv2_.forward(y));
    return bn3_.forward_relu(conv3_.forward(y), shortcut(x));
  }

  const BatchNorm2d& last_norm() const override { return bn3_; }

 private:
  Conv2d conv1_;
  BatchNorm2d bn1_;
  Conv2d conv2_;
  BatchNorm2d bn2_;
  Conv2d conv3_;
  BatchNorm2d bn3_;
};

using NamedArchitecture = std::pair<std::string, ResNet::Architecture>;

const std::vector<NamedArchitecture>& architectures() {
  constexpr std::size_t kWide = 64, kNarrow = 16;
  static const std::vector<NamedArchitecture> all{
      {"resnet18", {false, {2, 2, 2, 2}, kWide}},
      {"resnet34", {false, {3, 4, 6, 3}, kWide}},
      {"resnet50", {true, {3, 4, 6, 3}, kWide}},
      {"resnet101", {true, {3, 4, 23, 3}, kWide}},
      {"resnet152", {true, {3, 8, 36, 3}, kWide}},
      {"resnet20", {false, {3, 3, 3}, kNarrow}},
      {"resnet32", {false, {5, 5, 5}, kNarrow}},
      {"resnet44", {false, {7, 7, 7}, kNarrow}},
      {"resnet56", {false, {9, 9, 9}, kNarrow}},
  };
  return all;
}

Conv2dConfig stem_conv(Stem stem, std::size_t width) {
  if (stem == Stem::kCifar) {
    return {.in = 3, .out = width, .kernel = 3, .padding = 1};
  }
  return {.in = 3, .out = width, .kernel = 7, .stride = 2, .padding = 3};
}

}  // namespace

void ResidualBlock::add_downsample(std::size_t in, std::size_t out,
                                   std::size_t stride) {
  if (in == out && stride == 1) return;
  downsample_ = std::make_unique<Sequential>();
  downsample_->append(std::make_unique<Conv2d>(
      Conv2dConfig{.in = in, .out = out, .kernel = 1, .stride = stride}));
  downsample_->append(std::make_unique<BatchNorm2d>(out));
  add_module("downsample", *downsample_);
}

Variable ResidualBlock::shortcut(const Variable& x) {
  return downsample_ ? downsample_->forward(x) : x;
}

ResNet::ResNet(const Architecture& architecture, const ResNetOptions& options)
    : options_(options),
      conv1_(stem_conv(options.stem, architecture.width)),
      bn1_(architecture.width) {
  add_module("conv1", conv1_);
  add_module("bn1", bn1_);
  const std::size_t expansion =
      architecture.bottleneck ? kBottleneckExpansion : 1;
  std::size_t in = architecture.width;
  for (std::size_t stage = 0; stage < architecture.blocks.size(); ++stage) {
    const std::size_t width = architecture.width << stage;
    auto layer = std::make_unique<Sequential>();
    for (std::size_t i = 0; i < architecture.blocks[stage]; ++i) {
      const std::size_t stride = stage > 0 && i == 0 ? 2 : 1;
      std::unique_ptr<ResidualBlock> block;
      if (architecture.bottleneck) {
        block = std::make_unique<Bottleneck>(in, width, stride);
      } else {
        block = std::make_unique<BasicBlock>(in, width, stride);
      }
      blocks_.push_back(block.get());
      layer->append(std::move(block));
      in = width * expansion;
    }
    add_module("layer" + std::to_string(stage + 1), *layer);
    layers_.push_back(std::move(layer));
  }
  fc_ = std::make_unique<Linear>(in, options.classes);
  add_module("fc", *fc_);
}

Variable ResNet::forward(const Variable& x) {
  Variable y = bn1_.forward_relu(conv1_.forward(x));
  if (options_.stem == Stem::kImageNet) {
    y = max_pool2d(y, {.kernel = 3, .stride = 2, .padding = 1});
  }
  for (const auto& layer : layers_) y = layer->forward(y);
  return fc_->forward(global_average_pool(y));
}

void ResNet::after_initialize() {
  if (!options_.zero_init_residual) return;
  for (const ResidualBlock* block : blocks_) {
    block->last_norm().weight().data().fill_zero();
  }
}

std::unique_ptr<ResNet> make_resnet(const std::string& name,
                                    const ResNetOptions& options) {
  const std::vector<NamedArchitecture>& all = architectures();
  const auto found =
      std::find_if(all.begin(), all.end(),
                   [&](const auto& entry) { return entry.first == name; });
  if (found == all.end()) {
    throw Error(fmt::format("unknown model '{}', expected one of {}", name,
                            fmt::join(resnet_names(), ", ")));
  }
  constexpr std::size_t kCifarStages = 3;  // on maps of 32, 16 and 8
  const bool for_cifar_only = found->second.blocks.size() == kCifarStages;
  if (for_cifar_only && options.stem == Stem::kImageNet) {
    throw Error(fmt::format(
        "model '{}' is made for small pictures: expected --stem cifar", name));
  }
  return std::make_unique<ResNet>(found->second, options);
}

std::vector<std::string> resnet_names() {
  std::vector<std::string> names;
  for (const auto& [name, architecture] : architectures()) {
    names.push_back(name);
  }
  return names;
}

ResNetKind recognize_resnet(
    const std::function<const Shape*(const std::string&)>& shape_of) {
  const auto sizes = [&](const std::string& name, std::size_t dims) {
    const Shape* shape = shape_of(name);
    if (shape == nullptr) throw Error(fmt::format("no tensor '{}'", name));
    if (shape->size() == dims) return *shape;
    throw Error(fmt::format("tensor '{}' is {}, expected {} sizes", name,
                            to_string(*shape), dims));
  };
  const Shape stem = sizes("conv1.weight", 4), fc = sizes("fc.weight", 2);
  const auto width = static_cast<std::size_t>(stem[0]);
  const bool bottleneck = shape_of("layer1.0.conv3.weight") != nullptr;
  std::vector<std::size_t> blocks;
  const auto has = [&](std::size_t stage, std::size_t block) {
    return shape_of(fmt::format("layer{}.{}.conv1.weight", stage, block));
  };
  for (std::size_t stage = 1; has(stage, 0); ++stage) {
    blocks.push_back(1);
    while (has(stage, blocks.back())) ++blocks.back();
  }
  for (const auto& [name, known] : architectures()) {
    const std::size_t features = (known.width << (known.blocks.size() - 1)) *
                                 (known.bottleneck ? kBottleneckExpansion : 1);
    if (known.bottleneck == bottleneck && known.blocks == blocks &&
        known.width == width && static_cast<std::size_t>(fc[1]) == features) {
      return {name,
              {.classes = static_cast<std::size_t>(fc[0]),
               .stem = stem[3] == 3 ? Stem::kCifar : Stem::kImageNet}};
    }
  }
  throw Error(fmt::format(
      "{} blocks of {} convolutions, {} channels and {} features: expected "
      "one of {}",
      fmt::join(blocks, "+"), bottleneck ? 3 : 2, width, fc[1],
      fmt::join(resnet_names(), ", ")));
}

bool differs_by_task(const std::string& name, const Shape& one,
                     const Shape& other) {
  if (one.size() != other.size()) return false;
  if (name == "fc.bias") return true;
  if (name == "fc.weight") return one[1] == other[1];
  return name == "conv1.weight" && one[0] == other[0] && one[1] == other[1];
}

}  // namespace ringlet
