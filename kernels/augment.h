#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "kernels/runtime/dtype.h"
#include "kernels/runtime/philox.h"

namespace ringlet {

// What is the same for all pictures of a batch. Pictures have 3 channels.
struct AugmentParams {
  std::size_t height, width;
  std::array<float, 3> mean, std;  // of pixels in 0..1
};

// Pixel (y, x) of the crop is pixel (y + dy, x + dx) of the picture, black
// where that lies outside; `flip` then mirrors left and right. The defaults
// show the picture as it is.
struct Crop {
  std::int32_t dy = 0;
  std::int32_t dx = 0;
  bool flip = false;
};

// Up to 4 pixels outside on each side, and a flip with probability 1/2: a pure
// function of its arguments, the same on every device.
constexpr Crop draw_crop(std::uint64_t seed, std::uint32_t epoch,
                         std::uint32_t index) {
  constexpr std::int32_t kPad = 4;
  PhiloxStream random(seed, RandomPurpose::kAugmentation, epoch, index);
  const auto dy = static_cast<std::int32_t>(random.below(2 * kPad + 1)) - kPad;
  const auto dx = static_cast<std::int32_t>(random.below(2 * kPad + 1)) - kPad;
  return {dy, dx, random.below(2) == 1};
}

// One picture of a batch: `pixels` are bytes, channel by channel, row-major.
struct PictureCrop {
  const std::uint8_t* pixels;
  Crop crop = {};
};

// Gathers `count` pictures into y, [count, 3, height, width] in plain layout,
// each cropped, flipped and normalised: (pixel / 255 - mean) / std. Runs on
// the calling thread alone (the loader's workers call it); about 1 us for a
// picture of 32x32.
void augment(const AugmentParams& params, const PictureCrop* pictures,
             std::size_t count, float* y);

// The same from a whole data set in a GPU's memory, in one pass.
namespace cuda {

// Where in the data a step is, in the device's memory: its first picture is
// order[first].
struct BatchPlace {
  std::uint32_t epoch, first;
};

struct AugmentBatch {
  AugmentParams params;
  const std::uint8_t* pixels;  // of all pictures, [3, height, width] each
  const std::uint8_t* labels;  // of all pictures
  const std::uint32_t* order;  // the epoch's
  const BatchPlace* place;
  std::uint64_t seed;    // of draw_crop
  bool crop;             // whether to draw crops and flips at all
  std::size_t count;     // pictures of this batch
  Dtype dtype;           // of y: f32, f16 or bf16
  void* y;               // [count, height, width, channels]
  std::size_t channels;  // 3, or more: the others are zero
  std::int32_t* y_labels;
};
void augment(const AugmentBatch& batch);

}  // namespace cuda

}  // namespace ringlet
