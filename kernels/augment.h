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

// What is drawn for each picture.
struct Augmentation {
  bool crop = false;  // and flip
  // Cutout (DeVries and Taylor, "Improved regularization of convolutional
  // neural networks with cutout", 2017): the side of a square that becomes the
  // mean colour, in pixels; 0: none.
  std::int32_t cutout = 0;
};

// Pixel (y, x) of the crop is pixel (y + dy, x + dx) of the picture, black
// where that lies outside; `flip` then mirrors left and right; and then the
// pixels from (cut_y, cut_x) on, `cut` in each direction, are set to the mean.
// The defaults show the picture as it is.
struct Crop {
  std::int32_t dy = 0;
  std::int32_t dx = 0;
  bool flip = false;
  std::int32_t cut = 0, cut_y = 0, cut_x = 0;

  constexpr bool cuts(std::int32_t y, std::int32_t x) const {
    return y >= cut_y && y < cut_y + cut && x >= cut_x && x < cut_x + cut;
  }
};

// Which picture of a training it is.
struct PictureKey {
  std::uint64_t seed;
  std::uint32_t epoch, index;
};

// Up to 4 pixels outside on each side, a flip with probability 1/2, a square
// around any pixel, which may reach over the edge: a pure function of its
// arguments, the same on every device.
constexpr Crop draw_crop(const Augmentation& what, const PictureKey& key,
                         std::size_t height, std::size_t width) {
  constexpr std::int32_t kPad = 4;
  if (!what.crop && what.cutout == 0) return {};
  PhiloxStream random(key.seed, RandomPurpose::kAugmentation, key.epoch,
                      key.index);
  const auto below = [&](std::size_t bound) {
    return static_cast<std::int32_t>(
        random.below(static_cast<std::uint32_t>(bound)));
  };
  const std::int32_t dy = below(2 * kPad + 1) - kPad;
  const std::int32_t dx = below(2 * kPad + 1) - kPad;
  const bool flip = below(2) == 1;
  Crop crop;
  if (what.crop) crop = {.dy = dy, .dx = dx, .flip = flip};
  if (what.cutout == 0) return crop;
  crop.cut = what.cutout;
  crop.cut_y = below(height) - what.cutout / 2;
  crop.cut_x = below(width) - what.cutout / 2;
  return crop;
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

// y = share y + (1 - share) other.
void mix(std::size_t count, float share, const float* other, float* y);

// The same from a whole data set in a GPU's memory, in one pass.
namespace cuda {

// Where in the data a step is, in the device's memory: its first picture is
// order[first].
struct BatchPlace {
  std::uint32_t epoch, first;
  // Where pictures are mixed: picture i with order[partner - i], of which it
  // gets the rest.
  std::uint32_t partner = 0;
  float share = 1;
};

struct AugmentBatch {
  AugmentParams params;
  const std::uint8_t* pixels;  // of all pictures, [3, height, width] each
  const std::uint8_t* labels;  // of all pictures
  const std::uint32_t* order;  // the epoch's
  const BatchPlace* place;
  std::uint64_t seed;  // of draw_crop
  Augmentation what;
  std::size_t count;     // pictures of this batch
  Dtype dtype;           // of y: f32, f16 or bf16
  void* y;               // [count, height, width, channels]
  std::size_t channels;  // 3, or more: the others are zero
  std::int32_t* y_labels;
  // Null where pictures are not mixed.
  std::int32_t* y_other_labels;
  float* y_share;
};
void augment(const AugmentBatch& batch);

}  // namespace cuda

}  // namespace ringlet
