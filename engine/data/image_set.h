#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace ringlet {

inline constexpr std::size_t kImageChannels = 3;  // red, green, blue

// Labelled pictures of one size, all in memory: 3 kB each at 32x32.
struct ImageSet {
  std::string name;                  // "CIFAR-10 train", for messages
  std::vector<std::string> classes;  // the names; a label indexes them
  std::size_t height = 32;
  std::size_t width = 32;
  std::vector<std::uint8_t> pixels;  // count() x 3 x height x width
  std::vector<std::uint8_t> labels;
  // Of each channel over the training pictures, with pixels in 0..1.
  std::array<float, kImageChannels> mean{};
  std::array<float, kImageChannels> std{};

  std::size_t count() const { return labels.size(); }
  std::size_t image_bytes() const { return kImageChannels * height * width; }
  const std::uint8_t* image(std::size_t index) const {
    return pixels.data() + index * image_bytes();
  }
};

// What a run learns from and what it is judged by.
struct Dataset {
  ImageSet train;
  ImageSet test;
};

}  // namespace ringlet
