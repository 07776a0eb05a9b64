#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "engine/io/safetensors.h"
#include "engine/nn/module.h"

namespace ringlet {

// Writes all parameters and buffers of a model, under torchvision's names.
void save_weights(const std::filesystem::path& path, const Module& model,
                  const Metadata& metadata = {});

// Whether the tensor of that name may have another shape in a file than in the
// model, which then keeps its own.
using MayDiffer = std::function<bool(
    const std::string& name, const Shape& in_file, const Shape& in_model)>;

// Reads them back, and gives the names of those whose shape differs and may.
// Throws an Error that names the file and the tensor where one is missing,
// unknown to the model, or of another shape or type; the model is then
// unchanged. Batch norm's num_batches_tracked may be missing, as PyTorch has it
// too: weights older than PyTorch 0.4.1 lack it, and nothing is computed from
// it.
std::vector<std::string> load_weights(const std::filesystem::path& path,
                                      Module& model,
                                      const MayDiffer& may_differ = nullptr);

// The same for any tensors with names: those of `state` are overwritten.
using NamedState = std::vector<std::pair<std::string, Tensor>>;
std::vector<std::string> load_state(const std::filesystem::path& path,
                                    const NamedState& state,
                                    const MayDiffer& may_differ = nullptr);
std::vector<NamedTensor> named_tensors(const NamedState& state);

}  // namespace ringlet
