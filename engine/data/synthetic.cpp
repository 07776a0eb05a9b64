#include "engine/data/synthetic.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "kernels/runtime/philox.h"

// How a picture is made. Everything drawn is a shape: a function that gives
// the signed distance of a point to the shape's edge, negative inside, with
// the shape about as large as the unit circle. Shapes combine by min (union)
// and max (intersection), and an edge is smooth because the half pixel on
// either side of it blends the shape's colour with what lies below:
//
//      distance  -1.0  -0.5   0.0  +0.5  +1.0   pixels
//      coverage     1     1   0.5     0     0
//
// A picture is painted from back to front: a ground that fades from one muted
// colour to another, small clutter in all the classes' colours, the object of
// the class, a little more clutter in front of it, and noise on every pixel.
//
// The same bits everywhere: the arithmetic is float + - * / and square root,
// which IEEE 754 rounds in one way, and this file alone is compiled without
// fusing a product and a sum (engine/CMakeLists.txt). Sines would differ
// between C libraries; an angle is drawn as the tangent of its half instead.

namespace ringlet {
namespace {

constexpr std::size_t kSize = 32;  // pixels, both ways
constexpr std::size_t kPixels = kSize * kSize;
constexpr float kReach = 1.35f;     // from a shape's center, in its radii
constexpr std::uint64_t kSeed = 1;  // names the set: never changes

struct Point {
  float x, y;
};

using Color = std::array<float, kImageChannels>;
using Canvas = std::array<Color, kPixels>;
using Shape = float (*)(Point);

float disc(Point p, float radius) {
  return std::sqrt(p.x * p.x + p.y * p.y) - radius;
}

float box(Point p, float half_width, float half_height) {
  return std::max(std::abs(p.x) - half_width, std::abs(p.y) - half_height);
}

// Two discs above the tip where their common tangents meet.
float heart(Point p) {
  p.x = std::abs(p.x);
  const float lobe = disc({p.x - 0.45f, p.y + 0.35f}, 0.55f);
  const float tip = std::max(0.733f * p.x + 0.68f * p.y - 0.646f, -0.35f - p.y);
  return std::min(lobe, tip);
}

float cross(Point p) {
  return std::min(box(p, 0.95f, 0.32f), box(p, 0.32f, 0.95f));
}

// Inside a five-pointed star a point is beyond at most one of the lines that
// prolong the sides of the pentagon in its middle.
float star(Point p) {
  constexpr Point kNormals[] = {{0.0f, 1.0f},
                                {0.9510565f, 0.3090170f},
                                {0.5877853f, -0.8090170f},
                                {-0.5877853f, -0.8090170f},
                                {-0.9510565f, 0.3090170f}};
  float largest = -2, second = -2;
  for (const Point& n : kNormals) {
    const float distance = n.x * p.x + n.y * p.y;
    second = std::max(second, std::min(largest, distance));
    largest = std::max(largest, distance);
  }
  return second - 0.38f;
}

float moon(Point p) {
  return std::max(disc(p, 1.0f), -disc({p.x - 0.55f, p.y}, 0.8f));
}

float leaf(Point p) {
  return std::max(disc({p.x, p.y - 0.65f}, 1.2f),
                  disc({p.x, p.y + 0.65f}, 1.2f));
}

float triangle(Point p) {
  return std::max(p.y - 0.55f, 0.8660254f * std::abs(p.x) - 0.5f * p.y - 0.55f);
}

float ring(Point p) { return std::abs(disc(p, 0.7f)) - 0.24f; }

float square(Point p) { return box(p, 0.75f, 0.75f); }

float bars(Point p) { return box({p.x, std::abs(p.y) - 0.55f}, 0.9f, 0.28f); }

float hourglass(Point p) {
  return std::max(std::abs(p.y) - 0.9f,
                  0.75f * (std::abs(p.x) - 0.9f * std::abs(p.y)) - 0.1f);
}

constexpr Color kRed{0.85f, 0.15f, 0.15f};
constexpr Color kYellow{0.9f, 0.75f, 0.1f};
constexpr Color kGreen{0.15f, 0.65f, 0.2f};
constexpr Color kBlue{0.15f, 0.4f, 0.9f};
constexpr Color kViolet{0.65f, 0.2f, 0.75f};

struct Class {
  const char* name;
  Color color;
  Shape shape;
};

constexpr Class kClasses[] = {
    {"red heart", kRed, heart},     {"red cross", kRed, cross},
    {"yellow star", kYellow, star}, {"yellow moon", kYellow, moon},
    {"green leaf", kGreen, leaf},   {"green triangle", kGreen, triangle},
    {"blue ring", kBlue, ring},     {"blue square", kBlue, square},
    {"violet bars", kViolet, bars}, {"violet hourglass", kViolet, hourglass},
};

// How a shape lies in the picture.
struct Pose {
  Point center;   // pixels
  float radius;   // pixels to one unit of the shape
  Point heading;  // unit vector along the shape's x axis
};

class Painter {
 public:
  Painter(std::uint32_t half, std::uint32_t index)
      : random_(kSeed, RandomPurpose::kSyntheticData, half, index) {}

  void paint(const Class& object, std::uint8_t* pixels) {
    paint_ground();
    paint_clutter(4);
    const Pose pose = draw_pose(9, 23, 6.5f, 11);
    paint_shape(object.shape, pose, vary(object.color, 0.12f));
    paint_clutter(2);
    develop(pixels);
  }

 private:
  float draw(float low, float high) {
    return low + (high - low) * random_.uniform();
  }

  Pose draw_pose(float low, float high, float smallest, float largest) {
    const Point center{draw(low, high), draw(low, high)};
    const float radius = draw(smallest, largest);
    const float t = draw(-1, 1);  // the tangent of half of -90..90 degrees
    const float length = 1 + t * t;
    return {center, radius, {(1 - t * t) / length, 2 * t / length}};
  }

  // Brighter or darker as a whole, and each channel a little on its own.
  Color vary(Color color, float spread) {
    const float light = draw(0.7f, 1.15f);
    for (float& channel : color) {
      channel = channel * light + draw(-spread, spread);
    }
    return color;
  }

  void paint_ground() {
    const float light = draw(0.2f, 0.8f);
    const Color from = vary({light, light, light}, 0.15f);
    const Color to = vary({light, light, light}, 0.15f);
    const Pose pose = draw_pose(16, 16, 16, 16);
    for (std::size_t i = 0; i < kPixels; ++i) {
      const float along = 0.5f + 0.5f * to_shape(pose, i % kSize, i / kSize).x;
      blend(canvas_[i] = from, to, std::clamp(along, 0.0f, 1.0f));
    }
  }

  void paint_clutter(int pieces) {
    constexpr Shape kPieces[] = {moon, cross, triangle, square};
    for (int i = 0; i < pieces; ++i) {
      const Shape shape = kPieces[random_.below(std::size(kPieces))];
      const Class& hue = kClasses[random_.below(std::size(kClasses))];
      const Pose pose = draw_pose(0, 32, 1.5f, 3);
      paint_shape(shape, pose, vary(hue.color, 0.2f));
    }
  }

  void paint_shape(Shape shape, const Pose& pose, const Color& color) {
    const float reach = kReach * pose.radius + 1;
    const auto pixel = [](float place) {
      return static_cast<std::size_t>(std::clamp(place, 0.0f, float{kSize}));
    };
    const std::size_t left = pixel(pose.center.x - reach);
    const std::size_t right = pixel(pose.center.x + reach);
    const std::size_t bottom = pixel(pose.center.y + reach);
    for (std::size_t y = pixel(pose.center.y - reach); y < bottom; ++y) {
      for (std::size_t x = left; x < right; ++x) {
        const float distance = shape(to_shape(pose, x, y)) * pose.radius;
        const float coverage = std::clamp(0.5f - distance, 0.0f, 1.0f);
        blend(canvas_[y * kSize + x], color, coverage);
      }
    }
  }

  // The middle of a pixel in a shape's own coordinates.
  static Point to_shape(const Pose& pose, std::size_t x, std::size_t y) {
    const float dx = static_cast<float>(x) + 0.5f - pose.center.x;
    const float dy = static_cast<float>(y) + 0.5f - pose.center.y;
    return {(dx * pose.heading.x + dy * pose.heading.y) / pose.radius,
            (dy * pose.heading.x - dx * pose.heading.y) / pose.radius};
  }

  static void blend(Color& below, const Color& above, float coverage) {
    for (std::size_t c = 0; c < kImageChannels; ++c) {
      below[c] += (above[c] - below[c]) * coverage;
    }
  }

  // Adds the noise and rounds to bytes, one plane after the other.
  void develop(std::uint8_t* pixels) {
    const float noise = draw(0.05f, 0.3f);
    for (std::size_t c = 0; c < kImageChannels; ++c) {
      for (const Color& color : canvas_) {
        const float grain = noise * (random_.uniform() - 0.5f);
        const float value = std::clamp(color[c] + grain, 0.0f, 1.0f);
        *pixels++ = static_cast<std::uint8_t>(value * 255 + 0.5f);
      }
    }
  }

  PhiloxStream random_;
  Canvas canvas_;
};

ImageSet paint_half(std::uint32_t half, std::string name, std::size_t count) {
  ImageSet set;
  set.name = std::move(name);
  for (const Class& c : kClasses) set.classes.emplace_back(c.name);
  // Of the 20,000 training pictures.
  set.mean = {0.4712f, 0.4470f, 0.4529f};
  set.std = {0.2174f, 0.2011f, 0.2199f};
  set.labels.resize(count);
  set.pixels.resize(count * set.image_bytes());
  for (std::size_t i = 0; i < count; ++i) {
    set.labels[i] = static_cast<std::uint8_t>(i % std::size(kClasses));
    Painter(half, static_cast<std::uint32_t>(i))
        .paint(kClasses[set.labels[i]],
               set.pixels.data() + i * set.image_bytes());
  }
  return set;
}

}  // namespace

Dataset make_synthetic(std::size_t train_count, std::size_t test_count) {
  return {paint_half(0, "synthetic train", train_count),
          paint_half(1, "synthetic test", test_count)};
}

}  // namespace ringlet
