#include "engine/io/weights.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/runtime/error.h"

namespace ringlet {
namespace {

const Tensor& matching(const std::filesystem::path& path,
                       const SafetensorsFile& file, const std::string& name,
                       const Tensor& expected) {
  const Tensor* found = file.find(name);
  if (found == nullptr) {
    throw Error(fmt::format("{}: no tensor '{}', which the model has",
                            path.string(), name));
  }
  if (found->shape() != expected.shape() ||
      found->dtype() != expected.dtype()) {
    throw Error(
        fmt::format("{}: tensor '{}' is {} {}, expected {} {}", path.string(),
                    name, name_of(found->dtype()), to_string(found->shape()),
                    name_of(expected.dtype()), to_string(expected.shape())));
  }
  return *found;
}

}  // namespace

void save_weights(const std::filesystem::path& path, const Module& model,
                  const Metadata& metadata) {
  write_safetensors(path, named_tensors(model.state()), metadata);
}

std::vector<NamedTensor> named_tensors(const NamedState& state) {
  std::vector<NamedTensor> tensors;
  for (const auto& [name, tensor] : state) {
    tensors.push_back({name, tensor.to_host()});
  }
  return tensors;
}

void load_weights(const std::filesystem::path& path, Module& model) {
  load_state(path, model.state());
}

void load_state(const std::filesystem::path& path, const NamedState& state) {
  const SafetensorsFile file = read_safetensors(path);
  for (const auto& [name, tensor] : state) matching(path, file, name, tensor);
  for (const NamedTensor& stored : file.tensors) {
    const bool known =
        std::any_of(state.begin(), state.end(),
                    [&](const auto& own) { return own.first == stored.name; });
    if (!known) {
      throw Error(fmt::format("{}: tensor '{}' is unknown to the model",
                              path.string(), stored.name));
    }
  }
  for (const auto& [name, tensor] : state) {
    tensor.copy_from(matching(path, file, name, tensor));
  }
}

}  // namespace ringlet
