#include "engine/nn/module.h"

namespace ringlet {

void Module::train(bool on) {
  training_ = on;
  for (auto& [name, child] : children_) child->train(on);
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

std::vector<std::pair<std::string, Tensor>> Module::named_buffers() const {
  std::vector<std::pair<std::string, Tensor>> all;
  auto visit = [&](const std::string& prefix, const Module& module) {
    for (const auto& [name, buffer] : module.buffers_) {
      all.emplace_back(prefix + name, buffer);
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
      all.emplace_back(prefix + name, buffer);
    }
  };
  walk("", visit);
  return all;
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

Tensor Module::add_buffer(const std::string& name, Tensor buffer) {
  buffers_.emplace_back(name, buffer);
  return buffer;
}

void Module::add_module(const std::string& name, Module& module) {
  children_.emplace_back(name, &module);
}

}  // namespace ringlet
