#include "engine/io/weights.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/runtime/error.h"

namespace ringlet {
namespace {

constexpr const char* kCounter = ".num_batches_tracked";

// The tensor of that name; null where the model keeps its own.
const Tensor* find_for(const std::filesystem::path& path,
                       const SafetensorsFile& file, const std::string& name,
                       const Tensor& expected, const MayDiffer& may_differ) {
  const Tensor* found = file.find(name);
  if (found == nullptr) {
    if (name.ends_with(kCounter)) return nullptr;
    throw Error(fmt::format("{}: no tensor '{}', which the model has",
                            path.string(), name));
  }
  const bool same_type = found->dtype() == expected.dtype();
  if (same_type && found->shape() == expected.shape()) return found;
  if (same_type && may_differ &&
      may_differ(name, found->shape(), expected.shape())) {
    return nullptr;
  }
  throw Error(fmt::format("{}: tensor '{}' is {} {}, expected {} {}",
                          path.string(), name, name_of(found->dtype()),
                          to_string(found->shape()), name_of(expected.dtype()),
                          to_string(expected.shape())));
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

std::vector<std::string> load_weights(const std::filesystem::path& path,
                                      Module& model,
                                      const MayDiffer& may_differ) {
  return load_state(path, model.state(), may_differ);
}

std::vector<std::string> load_state(const std::filesystem::path& path,
                                    const NamedState& state,
                                    const MayDiffer& may_differ) {
  const SafetensorsFile file = read_safetensors(path);
  std::vector<const Tensor*> sources;
  std::vector<std::string> kept;
  for (const auto& [name, tensor] : state) {
    sources.push_back(find_for(path, file, name, tensor, may_differ));
    if (sources.back() == nullptr && file.find(name) != nullptr) {
      kept.push_back(name);
    }
  }
  for (const NamedTensor& stored : file.tensors) {
    const bool known =
        std::any_of(state.begin(), state.end(),
                    [&](const auto& own) { return own.first == stored.name; });
    if (!known) {
      throw Error(fmt::format("{}: tensor '{}' is unknown to the model",
                              path.string(), stored.name));
    }
  }
  for (std::size_t i = 0; i < state.size(); ++i) {
    if (sources[i] != nullptr) state[i].second.copy_from(*sources[i]);
  }
  return kept;
}

}  // namespace ringlet
