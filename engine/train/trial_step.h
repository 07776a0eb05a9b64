#pragma once

#include <cstddef>
#include <functional>
#include <memory>

#include "engine/data/image_set.h"
#include "engine/nn/module.h"
#include "engine/train/compute.h"

namespace ringlet {

// A training step of such a model on so many black pictures of the size of
// `like`, on a GPU. Nothing stays of it but what the libraries have learnt: how
// to compute its convolutions, and that it fits into memory. Throws an Error
// where it does not, with a number of pictures that do: the largest half of a
// half. Cost: that of the first step of a training, some seconds.
void try_step(const std::function<std::unique_ptr<Module>()>& make_model,
              const ImageSet& like, std::size_t pictures,
              const ComputeOptions& compute);

}  // namespace ringlet
