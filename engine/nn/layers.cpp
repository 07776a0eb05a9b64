#include "engine/nn/layers.h"

#include <cmath>

#include "engine/nn/init.h"

namespace ringlet {
namespace {

std::int64_t size(std::size_t value) {
  return static_cast<std::int64_t>(value);
}

// The bias takes numbers of its own: streams count modules, far below this.
constexpr std::uint32_t kBiasStream = 1u << 31;

float fan_in_bound(std::size_t fan_in) {
  return 1.0f / std::sqrt(static_cast<float>(fan_in));
}

}  // namespace

Conv2d::Conv2d(const Conv2dConfig& config) : config_(config) {
  weight_ = add_parameter("weight", {size(config.out), size(config.in),
                                     size(config.kernel), size(config.kernel)});
  if (config.bias) bias_ = add_parameter("bias", {size(config.out)});
}

Variable Conv2d::forward(const Variable& x) {
  return conv2d(x, weight_, bias_,
                {.stride = config_.stride, .padding = config_.padding});
}

void Conv2d::reset(std::uint64_t seed, std::uint32_t stream) {
  const std::size_t taps = config_.kernel * config_.kernel;
  const auto fan_out = static_cast<float>(config_.out * taps);
  fill_normal(weight_.data(), std::sqrt(2.0f / fan_out), seed, stream);
  if (!bias_.defined()) return;
  const float bound = fan_in_bound(config_.in * taps);
  fill_uniform(bias_.data(), -bound, bound, seed, stream | kBiasStream);
}

BatchNorm2d::BatchNorm2d(std::size_t channels) {
  weight_ = add_parameter("weight", {size(channels)});
  bias_ = add_parameter("bias", {size(channels)});
  const auto zeros = [&] { return Tensor::zeros({size(channels)}); };
  add_buffer("running_mean", state_.running_mean, zeros());
  add_buffer("running_var", state_.running_var, zeros());
  add_buffer("num_batches_tracked", state_.batches,
             Tensor::zeros({}, Dtype::kI64));
}

Variable BatchNorm2d::forward(const Variable& x) { return run(x, false, {}); }

Variable BatchNorm2d::forward_relu(const Variable& x,
                                   const Variable& residual) {
  return run(x, true, residual);
}

Variable BatchNorm2d::run(const Variable& x, bool relu,
                          const Variable& residual) {
  return batch_norm(
      x, weight_, bias_, state_,
      {.training = training(), .relu = relu, .residual = residual});
}

void BatchNorm2d::reset(std::uint64_t, std::uint32_t) {
  fill_constant(weight_.data(), 1.0f);
  bias_.data().fill_zero();
  state_.running_mean.fill_zero();
  fill_constant(state_.running_var, 1.0f);
  state_.batches.fill_zero();
}

Linear::Linear(std::size_t in, std::size_t out) {
  weight_ = add_parameter("weight", {size(out), size(in)});
  bias_ = add_parameter("bias", {size(out)});
}

Variable Linear::forward(const Variable& x) {
  return linear(x, weight_, bias_);
}

void Linear::reset(std::uint64_t seed, std::uint32_t stream) {
  const float bound =
      fan_in_bound(static_cast<std::size_t>(weight_.data().dim(1)));
  fill_uniform(weight_.data(), -bound, bound, seed, stream);
  fill_uniform(bias_.data(), -bound, bound, seed, stream | kBiasStream);
}

void Sequential::append(std::unique_ptr<Module> module) {
  add_module(std::to_string(modules_.size()), *module);
  modules_.push_back(std::move(module));
}

Variable Sequential::forward(const Variable& x) {
  Variable y = x;
  for (const auto& module : modules_) y = module->forward(y);
  return y;
}

}  // namespace ringlet
