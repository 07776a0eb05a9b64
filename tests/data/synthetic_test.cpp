#include "engine/data/synthetic.h"

#include <algorithm>
#include <cmath>

#include "support/catch.h"

using namespace ringlet;

namespace {

// FNV-1a.
std::uint64_t hash(const std::vector<std::uint8_t>& bytes) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const std::uint8_t byte : bytes) hash = (hash ^ byte) * 0x100000001b3;
  return hash;
}

}  // namespace

TEST_CASE("The first synthetic pictures are the same everywhere") {
  const Dataset data = make_synthetic(200, 100);
  CHECK(hash(data.train.pixels) == 0x798a531c9d521609);
  CHECK(hash(data.test.pixels) == 0x1d3b66f8c19f6023);
}

TEST_CASE("A synthetic picture depends on its half and index alone") {
  const Dataset few = make_synthetic(20, 30);
  const Dataset more = make_synthetic(40, 50);
  CHECK(few.train.count() == 20);
  CHECK(few.test.count() == 30);
  CHECK(std::equal(few.train.pixels.begin(), few.train.pixels.end(),
                   more.train.pixels.begin()));
  CHECK(std::equal(few.test.pixels.begin(), few.test.pixels.end(),
                   more.test.pixels.begin()));
  const std::size_t size = more.train.image_bytes();
  for (std::size_t i = 0; i < 40; ++i) {
    CHECK_FALSE(std::equal(more.train.image(i), more.train.image(i) + size,
                           more.test.image(i)));
    CHECK_FALSE(std::equal(more.train.image(i), more.train.image(i) + size,
                           more.train.image((i + 10) % 40)));
  }
}

TEST_CASE("Synthetic classes are named and equally frequent") {
  const Dataset data = make_synthetic(500, 100);
  for (const ImageSet* set : {&data.train, &data.test}) {
    REQUIRE(set->classes.size() == 10);
    REQUIRE(set->pixels.size() == set->count() * set->image_bytes());
    for (std::uint8_t label = 0; label < 10; ++label) {
      CHECK(static_cast<std::size_t>(
                std::count(set->labels.begin(), set->labels.end(), label)) ==
            set->count() / 10);
    }
  }
}

TEST_CASE("The synthetic mean and deviation are those of the pictures") {
  const ImageSet set = make_synthetic(5000, 0).train;
  const std::size_t plane = set.height * set.width;
  for (std::size_t c = 0; c < kImageChannels; ++c) {
    double sum = 0, squares = 0;
    for (std::size_t i = 0; i < set.count(); ++i) {
      for (std::size_t at = c * plane; at < (c + 1) * plane; ++at) {
        const double pixel = set.image(i)[at] / 255.0;
        sum += pixel;
        squares += pixel * pixel;
      }
    }
    const auto pixels = static_cast<double>(set.count() * plane);
    const double mean = sum / pixels;
    const double deviation = std::sqrt(squares / pixels - mean * mean);
    CHECK(mean == Approx(set.mean[c]).margin(0.005));
    CHECK(deviation == Approx(set.std[c]).margin(0.005));
  }
}
