#include "kernels/augment.h"

#include <algorithm>

namespace ringlet {
namespace {

// Normalises one channel: y = pixel * scale + offset.
struct Channel {
  float scale, offset;
};

// One row of the crop; `source` is its row of the picture. Columns [begin,
// end) of the crop lie inside the picture, the others are black.
void augment_row(const std::uint8_t* source, const Crop& crop,
                 std::int32_t width, Channel channel, float* __restrict y) {
  const std::int32_t begin = std::clamp(-crop.dx, 0, width);
  const std::int32_t end = std::clamp(width - crop.dx, begin, width);
  if (begin > 0 || end < width) std::fill_n(y, width, channel.offset);
  const std::uint8_t* __restrict inside = source + begin + crop.dx;
  const std::int32_t count = end - begin;
  if (crop.flip) {
    float* last = y + (width - 1 - begin);
    for (std::int32_t x = 0; x < count; ++x) {
      last[-x] = static_cast<float>(inside[x]) * channel.scale + channel.offset;
    }
  } else {
    for (std::int32_t x = 0; x < count; ++x) {
      y[begin + x] =
          static_cast<float>(inside[x]) * channel.scale + channel.offset;
    }
  }
}

void cut_row(const Crop& crop, std::int32_t row, std::int32_t width, float* y) {
  if (row < crop.cut_y || row >= crop.cut_y + crop.cut) return;
  const std::int32_t begin = std::clamp(crop.cut_x, 0, width);
  const std::int32_t end = std::clamp(crop.cut_x + crop.cut, begin, width);
  std::fill_n(y + begin, end - begin, 0.0f);
}

}  // namespace

void mix(std::size_t count, float share, const float* other, float* y) {
  for (std::size_t i = 0; i < count; ++i) {
    y[i] = share * y[i] + (1 - share) * other[i];
  }
}

void augment(const AugmentParams& params, const PictureCrop* pictures,
             std::size_t count, float* y) {
  const auto height = static_cast<std::int32_t>(params.height);
  const auto width = static_cast<std::int32_t>(params.width);
  for (std::size_t i = 0; i < count; ++i) {
    const PictureCrop& picture = pictures[i];
    for (std::size_t c = 0; c < params.mean.size(); ++c) {
      const Channel channel{1 / (255 * params.std[c]),
                            -params.mean[c] / params.std[c]};
      const std::uint8_t* plane =
          picture.pixels + c * params.height * params.width;
      for (std::int32_t row = 0; row < height; ++row, y += width) {
        const std::int32_t source_row = row + picture.crop.dy;
        if (source_row < 0 || source_row >= height) {
          std::fill_n(y, width, channel.offset);
        } else {
          augment_row(plane + source_row * width, picture.crop, width, channel,
                      y);
        }
        cut_row(picture.crop, row, width, y);
      }
    }
  }
}

}  // namespace ringlet
