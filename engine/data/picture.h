#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <vector>

#include "engine/data/image_set.h"

namespace ringlet {

// A picture as a file holds it.
struct Picture {
  std::size_t height = 0;
  std::size_t width = 0;
  std::vector<std::uint8_t> rgb;  // height x width x 3, row-major
};

// Above what cameras take, and 192 MiB in memory.
inline constexpr std::size_t kMostPixels = std::size_t{1} << 26;

// Reads a PNG or JPEG, told apart by their first bytes, not by their names.
// Whatever they hold becomes 8-bit sRGB: grey becomes colour, 16 bits become 8,
// what is transparent shows white behind it. Turns nothing: the orientation
// that cameras note is not looked at. Throws an Error that names the file where
// it cannot be read, is neither, is damaged or cut before its last row, or has
// more than kMostPixels.
Picture read_picture(const std::filesystem::path& path);

// Appends a picture of any size to `set`, with label 0. Its largest centred
// square is scaled to the set's size: each pixel is the mean of the area that
// it covers there, computed in whole numbers and rounded, so the same on every
// machine. A picture of the set's size stays as it is. The set's pictures must
// be squares.
void append_picture(const Picture& picture, ImageSet& set);

}  // namespace ringlet
