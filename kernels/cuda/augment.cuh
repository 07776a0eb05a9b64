#pragma once

#include "kernels/augment.h"
#include "kernels/cuda/pack.cuh"

namespace ringlet::cuda {

// pixel * scale + offset, per channel.
struct PixelScale {
  float scale[3], offset[3];
};

// A thread per pixel of the batch: it gathers three bytes, each from its
// channel's plane, and writes one pixel in NHWC.
template <typename T>
__global__ void augment_batch(AugmentBatch batch, PixelScale pixel_scale,
                              T* y) {
  const std::size_t height = batch.params.height, width = batch.params.width;
  const std::size_t pixels = height * width;
  for (std::size_t i = global_thread(); i < batch.count * pixels;
       i += global_threads()) {
    const std::size_t picture = i / pixels;
    const std::uint32_t index = batch.order[batch.place->first + picture];
    const Crop crop =
        batch.crop ? draw_crop(batch.seed, batch.place->epoch, index) : Crop{};
    const std::size_t column = i % width;
    // In size_t, what lies left of or above the picture is beyond it too.
    const std::size_t row = i % pixels / width + crop.dy;
    const std::size_t source =
        (crop.flip ? width - 1 - column : column) + crop.dx;
    const bool inside = row < height && source < width;
    const std::uint8_t* from =
        batch.pixels + index * 3 * pixels + row * width + source;
    T* to = y + i * batch.channels;
    for (std::size_t c = 0; c < batch.channels; ++c) {
      float value = 0;
      if (c < 3) {
        const float byte = inside ? static_cast<float>(from[c * pixels]) : 0;
        value = fmaf(byte, pixel_scale.scale[c], pixel_scale.offset[c]);
      }
      to[c] = from_float<T>(value);
    }
    if (i % pixels == 0) batch.y_labels[picture] = batch.labels[index];
  }
}

}  // namespace ringlet::cuda
