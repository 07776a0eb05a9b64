#pragma once

#include <filesystem>

#include "engine/io/safetensors.h"
#include "engine/nn/module.h"

namespace ringlet {

// Writes all parameters and buffers of a model, under torchvision's names.
void save_weights(const std::filesystem::path& path, const Module& model,
                  const Metadata& metadata = {});

// Reads them back. Throws an Error that names the file and the tensor where one
// is missing, unknown to the model, or of another shape or type; the model is
// then unchanged.
void load_weights(const std::filesystem::path& path, Module& model);

// The same for any tensors with names: those of `state` are overwritten.
using NamedState = std::vector<std::pair<std::string, Tensor>>;
void load_state(const std::filesystem::path& path, const NamedState& state);
std::vector<NamedTensor> named_tensors(const NamedState& state);

}  // namespace ringlet
