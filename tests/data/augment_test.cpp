#include "kernels/augment.h"

#include <set>
#include <vector>

#include "kernels/runtime/check.h"
#include "kernels/runtime/philox.h"
#include "support/catch.h"

using namespace ringlet;

namespace {

// Pixel by pixel, in double.
std::vector<double> reference(const AugmentParams& params,
                              const std::vector<PictureCrop>& pictures) {
  const auto height = static_cast<int>(params.height);
  const auto width = static_cast<int>(params.width);
  std::vector<double> y;
  for (const PictureCrop& picture : pictures) {
    for (int c = 0; c < 3; ++c) {
      for (int row = 0; row < height; ++row) {
        for (int column = 0; column < width; ++column) {
          const int from_row = row + picture.crop.dy;
          const int from_column =
              (picture.crop.flip ? width - 1 - column : column) +
              picture.crop.dx;
          const bool inside = from_row >= 0 && from_row < height &&
                              from_column >= 0 && from_column < width;
          const int at = (c * height + from_row) * width + from_column;
          const double pixel = inside ? picture.pixels[at] : 0;
          const Crop& crop = picture.crop;
          const bool cut =
              row - crop.cut_y >= 0 && row - crop.cut_y < crop.cut &&
              column - crop.cut_x >= 0 && column - crop.cut_x < crop.cut;
          y.push_back(cut ? 0 : (pixel / 255 - params.mean[c]) / params.std[c]);
        }
      }
    }
  }
  return y;
}

void check_equal(const AugmentParams& params,
                 const std::vector<PictureCrop>& pictures) {
  const std::vector<double> expected = reference(params, pictures);
  constexpr float kUntouched = 1234;
  std::vector<float> y(expected.size() + 1, kUntouched);
  augment(params, pictures.data(), pictures.size(), y.data());
  double worst = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    worst = std::max(worst, std::abs(y[i] - expected[i]));
  }
  CHECK(worst < 2e-6);
  CHECK(y.back() == kUntouched);
}

std::vector<std::uint8_t> noise(std::size_t count) {
  PhiloxStream random(5, RandomPurpose::kAugmentation, 0, 0);
  std::vector<std::uint8_t> bytes(count);
  for (std::uint8_t& byte : bytes) {
    byte = static_cast<std::uint8_t>(random.below(256));
  }
  return bytes;
}

}  // namespace

TEST_CASE("Augmentation equals the pixel by pixel reference") {
  const auto [height, width] =
      GENERATE(std::pair<std::size_t, std::size_t>{32, 32},
               std::pair<std::size_t, std::size_t>{5, 7});
  const AugmentParams params{
      height, width, {0.49f, 0.48f, 0.45f}, {0.25f, 0.24f, 0.26f}};
  const std::vector<std::uint8_t> pixels = noise(2 * 3 * height * width);
  const std::uint8_t* second = pixels.data() + 3 * height * width;
  for (const bool flip : {false, true}) {
    std::vector<PictureCrop> pictures;
    for (int dy = -9; dy <= 9; ++dy) {
      for (int dx = -9; dx <= 9; ++dx) {
        pictures.push_back(
            {dx % 2 == 0 ? pixels.data() : second, {dy, dx, flip}});
      }
    }
    check_equal(params, pictures);
  }
  std::vector<PictureCrop> cut;
  for (int at = -6; at <= 33; ++at) {
    for (const int side : {1, 4, 50}) {
      const Crop crop{.dy = at % 4,
                      .dx = at % 3,
                      .flip = at % 2 == 0,
                      .cut = side,
                      .cut_y = at,
                      .cut_x = 30 - at};
      cut.push_back({second, crop});
    }
  }
  check_equal(params, cut);
  check_equal(params, {PictureCrop{second}});
  check_equal(params, {});
}

TEST_CASE(
    "A cutout is a square around any pixel, and leaves the crop as it was") {
  constexpr std::int32_t kSide = 16, kSize = 32;
  std::int32_t first = kSize, last = 0;
  std::set<std::pair<std::int32_t, std::int32_t>> places;
  for (std::uint32_t index = 0; index < 2000; ++index) {
    const PictureKey key{7, 2, index};
    const Crop whole = draw_crop({.crop = true}, key, kSize, kSize);
    const Crop crop =
        draw_crop({.crop = true, .cutout = kSide}, key, kSize, kSize);
    RINGLET_CHECK(whole.cut == 0 && crop.cut == kSide && crop.dy == whole.dy &&
                      crop.dx == whole.dx && crop.flip == whole.flip,
                  "picture {}", index);
    const Crop alone = draw_crop({.cutout = kSide}, key, kSize, kSize);
    RINGLET_CHECK(alone.dy == 0 && alone.dx == 0 && !alone.flip &&
                      alone.cut_y == crop.cut_y && alone.cut_x == crop.cut_x,
                  "picture {}", index);
    first = std::min({first, crop.cut_y, crop.cut_x});
    last = std::max({last, crop.cut_y, crop.cut_x});
    places.insert({crop.cut_y, crop.cut_x});
  }
  // Centres are all over the picture, in both directions independently.
  CHECK(first == -kSide / 2);
  CHECK(last == kSize - 1 - kSide / 2);
  CHECK(places.size() > 800);
}
