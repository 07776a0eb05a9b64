#pragma once

#include <memory>
#include <vector>

#include "engine/autograd/ops.h"
#include "engine/nn/module.h"

namespace ringlet {

struct Conv2dConfig {
  std::size_t in, out, kernel;
  std::size_t stride = 1;
  std::size_t padding = 0;
  bool bias = false;  // the convolutions here are followed by a batch norm
};

// Parameters: weight [out, in, kernel, kernel], bias [out] if asked for.
// Initialised as torchvision's ResNet: He et al.'s normal, fan out; bias as
// torch.nn.Conv2d's.
class Conv2d final : public Module {
 public:
  explicit Conv2d(const Conv2dConfig& config);
  Variable forward(const Variable& x) override;

 private:
  void reset(std::uint64_t seed, std::uint32_t stream) override;

  Conv2dConfig config_;
  Variable weight_, bias_;
};

// Parameters: weight (gamma), bias (beta); buffers: running_mean, running_var,
// num_batches_tracked (i64). momentum 0.1, eps 1e-5.
class BatchNorm2d final : public Module {
 public:
  explicit BatchNorm2d(std::size_t channels);
  Variable forward(const Variable& x) override;
  // The fused forms: the residual (if defined) is added, then a ReLU taken.
  Variable forward_relu(const Variable& x, const Variable& residual = {});

  const Variable& weight() const { return weight_; }
  void share_statistics(const SharedStatistics* shared) override {
    state_.shared = shared;
  }

 private:
  void reset(std::uint64_t seed, std::uint32_t stream) override;
  Variable run(const Variable& x, bool relu, const Variable& residual);

  Variable weight_, bias_;
  BatchNormState state_;
};

// Parameters: weight [out, in], bias [out]; initialised as torch.nn.Linear:
// uniform within 1/sqrt(in).
class Linear final : public Module {
 public:
  Linear(std::size_t in, std::size_t out);
  Variable forward(const Variable& x) override;

 private:
  void reset(std::uint64_t seed, std::uint32_t stream) override;

  Variable weight_, bias_;
};

// Modules one after the other, named "0", "1", ...
class Sequential final : public Module {
 public:
  void append(std::unique_ptr<Module> module);
  Variable forward(const Variable& x) override;

 private:
  std::vector<std::unique_ptr<Module>> modules_;
};

}  // namespace ringlet
