#pragma once

#include <optional>
#include <string>

#include "kernels/cuda/conv_plan.h"

// Which plan each convolution takes, for all threads of the process: what was
// measured here, or on another rank, or in the run that goes on.
namespace ringlet::cuda {

// While on, a convolution that has no choice yet times what there is, at its
// first use, and remembers the fastest; else it takes the first that is
// offered.
void set_conv_tuning(bool on);
bool conv_tuning();

// For each, cuDNN's former interface (make_legacy_plan), whatever was chosen.
void set_legacy_convolutions(bool on);
bool legacy_convolutions();

std::optional<std::string> conv_choice(const ConvKey& key);
void add_conv_choice(const ConvKey& key, const std::string& plan);

// One line each, "KEY: PLAN", in the order of keys, under one that says for
// which GPU and versions they are; "" where there are none.
std::string conv_choices(const std::string& versions);
// Takes them over instead of what there is, where the versions are the same;
// others are of no use. Throws an Error that names a line which is none.
void set_conv_choices(const std::string& text, const std::string& versions);
// How often that was done: plans that were made before are to be made anew.
unsigned conv_choices_set();

}  // namespace ringlet::cuda
