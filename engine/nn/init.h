#pragma once

#include <cstdint>

#include "engine/tensor/tensor.h"

namespace ringlet {

// Fills a f32 tensor on any device. Element i, in row-major order, is a pure
// function of (seed, stream, i), so the result depends neither on the number of
// threads nor on the layout.
void fill_normal(const Tensor& tensor, float std, std::uint64_t seed,
                 std::uint32_t stream);
void fill_uniform(const Tensor& tensor, float low, float high,
                  std::uint64_t seed, std::uint32_t stream);
void fill_constant(const Tensor& tensor, float value);

}  // namespace ringlet
