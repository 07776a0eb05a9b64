#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/autograd/parameter_arena.h"
#include "kernels/optim.h"

namespace ringlet {

struct SgdOptions {
  float momentum = 0.9f;
  bool nesterov = false;
  float weight_decay = 0;
  // Spares biases and batch norm's parameters (all those of one dimension).
  bool no_decay_bn_bias = false;
  // LARS: the rate of each parameter is multiplied by so much of the norm of
  // its values over that of its gradient (OptimKernels::lars); not of those
  // that are spared from decay. 0: plain SGD.
  float trust = 0;
};

// Stochastic gradient descent with momentum, as torch.optim.SGD computes it, or
// LARS.
// Keeps one float of momentum per parameter, in the order of the arena.
class SGD {
 public:
  SGD(const ParameterArena& arena, const SgdOptions& options);

  // Moves the parameters by the gradients in the arena. One pass: reads three
  // arrays and writes two. Gradients are multiplied by `gradient_scale` first;
  // LARS changes them in the arena. Hashes what it is told to: see SgdArgs.
  void step(float lr, float gradient_scale = 1,
            std::span<const HashArgs> hashes = {});
  // The same by what lies on the device.
  void step(const SgdStep* step, std::span<const HashArgs> hashes = {});

  // The momentum, a float per parameter in the arena's order.
  const Tensor& momentum() const { return momentum_; }
  // The same, as views under the parameters' names: what a checkpoint keeps.
  std::vector<std::pair<std::string, Tensor>> state() const;

 private:
  bool is_spared(const ParameterArena::Slot& slot) const;
  void adapt_rates();

  const ParameterArena& arena_;
  SgdOptions options_;
  Buffer decays_;   // SgdArgs::decays; empty where all parameters do
  Buffer adapted_;  // FlatRanges of the parameters whose rate is adapted
  Buffer memory_;
  Tensor momentum_;  // all of the memory
  Buffer step_;      // an SgdStep
};

}  // namespace ringlet
