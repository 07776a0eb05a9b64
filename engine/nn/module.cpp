#include "engine/nn/module.h"

#include <algorithm>

#include "kernels/backend.h"

namespace ringlet {

void Module::train(bool on) {
  training_ = on;
  for (auto& [name, child] : children_) child->train(on);
}

void Module::share_statistics(const SharedStatistics* shared) {
  for (auto& [name, child] : children_) child->share_statistics(shared);
}

template <typename Visit>
void Module::walk(const std::string& prefix, Visit& visit) const {
  visit(prefix, *this);
  for (const auto& [name, child] : children_) {
    child->walk(prefix + name + ".", visit);
  }
}

std::vector<Variable> Module::parameters() const {
  std::vector<Variable> all;
  auto visit = [&](const std::string& prefix, const Module& module) {
    for (const auto& [name, parameter] : module.parameters_) {
      parameter.set_name(prefix + name);
      all.push_back(parameter);
    }
  };
  walk("", visit);
  return all;
}

std::vector<std::pair<std::string, Tensor>> Module::state() const {
  std::vector<std::pair<std::string, Tensor>> all;
  auto visit = [&](const std::string& prefix, const Module& module) {
    for (const auto& [name, parameter] : module.parameters_) {
      all.emplace_back(prefix + name, parameter.data());
    }
    for (const auto& [name, buffer] : module.buffers_) {
      all.emplace_back(prefix + name, *buffer);
    }
  };
  walk("", visit);
  return all;
}

void Module::to(Device device) {
  for (const auto& [name, parameter] : parameters_) {
    const Shape& shape = parameter.data().shape();
    const bool of_convolution = shape.size() == 4;
    parameter.set_data(
        Tensor(shape, Dtype::kF32,
               of_convolution ? backend(device).weight_layout : Layout::kPlain,
               device));
  }
  for (const auto& [name, buffer] : buffers_) *buffer = buffer->to(device);
  for (const auto& [name, child] : children_) child->to(device);
}

Module::JoinedBuffers Module::join_buffers() {
  constexpr std::size_t kAlignment = 8;
  std::vector<Tensor*> buffers;
  auto visit = [&](const std::string&, const Module& module) {
    for (const auto& [name, buffer] : module.buffers_)
      buffers.push_back(buffer);
  };
  walk("", visit);
  const auto is_float = [](const Tensor* buffer) {
    return buffer->dtype() == Dtype::kF32;
  };
  std::stable_partition(buffers.begin(), buffers.end(), is_float);
  std::size_t bytes = 0, float_bytes = 0;
  for (const Tensor* buffer : buffers) {
    bytes += round_up(buffer->bytes(), kAlignment);
    if (is_float(buffer)) float_bytes = bytes;
  }
  const Tensor joined = Tensor::zeros(
      {static_cast<std::int64_t>(bytes)}, Dtype::kU8, Layout::kPlain,
      buffers.empty() ? Device::kCpu : buffers[0]->device());
  std::size_t offset = 0;
  for (Tensor* buffer : buffers) {
    const Tensor moved(buffer->shape(), buffer->dtype(), buffer->layout(),
                       joined.buffer(), offset);
    moved.copy_from(*buffer);
    *buffer = moved;
    offset += round_up(moved.bytes(), kAlignment);
  }
  const auto floats = static_cast<std::int64_t>(float_bytes / sizeof(float));
  return {joined,
          Tensor({floats}, Dtype::kF32, Layout::kPlain, joined.buffer(), 0)};
}

void Module::initialize(std::uint64_t seed) {
  std::uint32_t stream = 0;
  initialize(seed, stream);
}

void Module::initialize(std::uint64_t seed, std::uint32_t& stream) {
  reset(seed, stream++);
  for (auto& [name, child] : children_) child->initialize(seed, stream);
  after_initialize();
}

void Module::reset(std::uint64_t, std::uint32_t) {}

Variable Module::add_parameter(const std::string& name, Shape shape) {
  Variable parameter(Tensor::zeros(std::move(shape)), true);
  parameter.set_name(name);
  parameters_.emplace_back(name, parameter);
  return parameter;
}

void Module::add_buffer(const std::string& name, Tensor& buffer, Tensor value) {
  buffer = std::move(value);
  buffers_.emplace_back(name, &buffer);
}

void Module::add_module(const std::string& name, Module& module) {
  children_.emplace_back(name, &module);
}

}  // namespace ringlet
