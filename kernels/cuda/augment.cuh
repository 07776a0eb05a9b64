#pragma once

#include "kernels/augment.h"
#include "kernels/cuda/pack.cuh"

namespace ringlet::cuda {

// pixel * scale + offset, per channel.
struct PixelScale {
  float scale[3], offset[3];
};

// One pixel of a picture as it is shown: three bytes, each from its channel's
// plane.
__device__ inline void load_pixel(const AugmentBatch& batch,
                                  const PixelScale& pixel_scale,
                                  std::uint32_t index, std::size_t pixel,
                                  float (&values)[3]) {
  const std::size_t height = batch.params.height, width = batch.params.width;
  const Crop crop = draw_crop(
      batch.what, {batch.seed, batch.place->epoch, index}, height, width);
  const std::size_t column = pixel % width;
  // In size_t, what lies left of or above the picture is beyond it too.
  const std::size_t row = pixel / width + crop.dy;
  const std::size_t source =
      (crop.flip ? width - 1 - column : column) + crop.dx;
  const bool inside = row < height && source < width;
  const bool cut = crop.cuts(static_cast<std::int32_t>(pixel / width),
                             static_cast<std::int32_t>(column));
  const std::uint8_t* from =
      batch.pixels + index * 3 * height * width + row * width + source;
  for (std::size_t c = 0; c < 3; ++c) {
    const float byte =
        inside ? static_cast<float>(from[c * height * width]) : 0;
    values[c] =
        cut ? 0 : fmaf(byte, pixel_scale.scale[c], pixel_scale.offset[c]);
  }
}

// A thread per pixel of the batch, which it writes in NHWC.
template <typename T>
__global__ void augment_batch(AugmentBatch batch, PixelScale pixel_scale,
                              T* y) {
  const std::size_t pixels = batch.params.height * batch.params.width;
  const BatchPlace place = *batch.place;
  const bool mixes = batch.y_other_labels != nullptr;
  if (mixes && global_thread() == 0) *batch.y_share = place.share;
  for (std::size_t i = global_thread(); i < batch.count * pixels;
       i += global_threads()) {
    const std::size_t picture = i / pixels;
    const std::uint32_t index = batch.order[place.first + picture];
    float values[3];
    load_pixel(batch, pixel_scale, index, i % pixels, values);
    if (i % pixels == 0) batch.y_labels[picture] = batch.labels[index];
    if (mixes) {
      const std::uint32_t other = batch.order[place.partner - picture];
      float others[3];
      load_pixel(batch, pixel_scale, other, i % pixels, others);
      for (std::size_t c = 0; c < 3; ++c) {
        values[c] = fmaf(place.share, values[c], (1 - place.share) * others[c]);
      }
      if (i % pixels == 0) batch.y_other_labels[picture] = batch.labels[other];
    }
    T* to = y + i * batch.channels;
    for (std::size_t c = 0; c < batch.channels; ++c) {
      to[c] = from_float<T>(c < 3 ? values[c] : 0.0f);
    }
  }
}

}  // namespace ringlet::cuda
