#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace ringlet {

// What is the same for all pictures of a batch. Pictures have 3 channels.
struct AugmentParams {
  std::size_t height, width;
  std::array<float, 3> mean, std;  // of pixels in 0..1
};

// One picture of a batch: `pixels` are bytes, channel by channel, row-major.
// Pixel (y, x) of the crop is pixel (y + dy, x + dx) of the picture, black
// where that lies outside; `flip` then mirrors left and right. The defaults
// show the picture as it is.
struct PictureCrop {
  const std::uint8_t* pixels;
  std::int32_t dy = 0;
  std::int32_t dx = 0;
  bool flip = false;
};

// Gathers `count` pictures into y, [count, 3, height, width] in plain layout,
// each cropped, flipped and normalised: (pixel / 255 - mean) / std. Runs on
// the calling thread alone (the loader's workers call it); about 1 us for a
// picture of 32x32.
void augment(const AugmentParams& params, const PictureCrop* pictures,
             std::size_t count, float* y);

}  // namespace ringlet
