#include "engine/data/picture.h"

#include <png.h>
#include <turbojpeg.h>

#include "engine/data/cifar10.h"
#include "support/catch.h"
#include "support/files.h"

using namespace ringlet;
using namespace ringlet::testing;

namespace {

using Pixels = std::vector<std::uint8_t>;

void write_png(const std::filesystem::path& path, unsigned width,
               unsigned height, unsigned format, const Pixels& pixels) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = width;
  image.height = height;
  image.format = format;
  REQUIRE(png_image_write_to_file(&image, path.c_str(), 0, pixels.data(), 0,
                                  nullptr) != 0);
}

void write_jpeg(const std::filesystem::path& path, int width, int height,
                const Pixels& rgb) {
  const tjhandle jpeg = tjInitCompress();
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  REQUIRE(tjCompress2(jpeg, rgb.data(), width, 0, height, TJPF_RGB, &bytes,
                      &size, TJSAMP_444, 95, 0) == 0);
  write_file(path, std::string(reinterpret_cast<char*>(bytes), size));
  tjFree(bytes);
  tjDestroy(jpeg);
}

Pixels some_pixels(std::size_t count) {
  Pixels pixels(count);
  for (std::size_t i = 0; i < count; ++i) {
    pixels[i] = static_cast<std::uint8_t>(i * i % 251);
  }
  return pixels;
}

// The red plane of the picture, scaled to size x size.
Pixels scaled(const Picture& picture, std::size_t size) {
  ImageSet set = empty_cifar10("test");
  set.height = set.width = size;
  append_picture(picture, set);
  REQUIRE(set.count() == 1);
  REQUIRE(set.pixels.size() == set.image_bytes());
  return {set.pixels.begin(),
          set.pixels.begin() + static_cast<std::ptrdiff_t>(size * size)};
}

Picture grey(std::size_t height, std::size_t width, const Pixels& values) {
  Picture picture{height, width, {}};
  for (const std::uint8_t value : values) {
    picture.rgb.insert(picture.rgb.end(), 3, value);
  }
  return picture;
}

}  // namespace

TEST_CASE("a PNG comes back to the bit, grey as colour, clear as white") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "picture";
  const Pixels pixels = some_pixels(5 * 7 * 3);
  write_png(path, 7, 5, PNG_FORMAT_RGB, pixels);
  const Picture picture = read_picture(path);
  CHECK(picture.width == 7);
  CHECK(picture.height == 5);
  CHECK(picture.rgb == pixels);

  write_png(path, 2, 1, PNG_FORMAT_GRAY, {10, 200});
  CHECK(read_picture(path).rgb == Pixels{10, 10, 10, 200, 200, 200});

  write_png(path, 2, 1, PNG_FORMAT_RGBA, {1, 2, 3, 255, 1, 2, 3, 0});
  CHECK(read_picture(path).rgb == Pixels{1, 2, 3, 255, 255, 255});
}

TEST_CASE("a JPEG comes back, nearly") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "picture";
  Pixels pixels;
  for (int i = 0; i < 40 * 24; ++i) {
    pixels.insert(pixels.end(), {200, 40, 90});
  }
  write_jpeg(path, 40, 24, pixels);
  const Picture picture = read_picture(path);
  CHECK(picture.width == 40);
  CHECK(picture.height == 24);
  REQUIRE(picture.rgb.size() == pixels.size());
  int largest = 0;
  for (std::size_t i = 0; i < pixels.size(); ++i) {
    largest = std::max(largest, std::abs(picture.rgb[i] - pixels[i]));
  }
  CHECK(largest <= 3);
}

TEST_CASE("pictures cut short anywhere are refused by name") {
  const TemporaryFolder folder;
  const auto png = folder.path() / "a.png", jpeg = folder.path() / "a.jpg";
  const Pixels pixels = some_pixels(32 * 32 * 3);
  write_png(png, 32, 32, PNG_FORMAT_RGB, pixels);
  write_jpeg(jpeg, 32, 32, pixels);
  for (const auto& path : {png, jpeg}) {
    const std::string bytes = read_file(path);
    // What follows the last row may be missing from a PNG: 4 bytes of a sum,
    // 12 of the end's chunk.
    for (std::size_t size = 0; size + 20 < bytes.size(); size += 7) {
      CAPTURE(path, size, bytes.size());
      write_file(path, bytes.substr(0, size));
      CHECK_THROWS_WITH(read_picture(path), StartsWith(path.string() + ": "));
    }
    write_file(path, bytes);
    CHECK_NOTHROW(read_picture(path));
  }
}

TEST_CASE("what is no picture, or a huge one, is refused") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "picture";
  write_file(path, "GIF89a and so on");
  CHECK_THROWS_WITH(read_picture(path),
                    path.string() + ": neither a PNG nor a JPEG");
  CHECK_THROWS_WITH(read_picture(folder.path() / "none"),
                    EndsWith("cannot read: No such file or directory"));
  CHECK_THROWS_WITH(read_picture(folder.path()),
                    ContainsSubstring("cannot read"));
  write_jpeg(path, 16, 16, some_pixels(16 * 16 * 3));
  std::string bytes = read_file(path);
  const std::size_t frame = bytes.find("\xff\xc0");
  REQUIRE(frame != std::string::npos);
  bytes.replace(frame + 5, 4, "\xff\x00\xff\x00", 4);
  write_file(path, bytes);
  CHECK_THROWS_WITH(read_picture(path),
                    EndsWith(": 65280x65280 pixels, expected 1 to 67108864"));
}

TEST_CASE("a picture of the set's size stays as it is, channel by channel") {
  ImageSet set = empty_cifar10("test");
  const Pixels pixels = some_pixels(32 * 32 * 3);
  append_picture({32, 32, pixels}, set);
  REQUIRE(set.pixels.size() == pixels.size());
  bool same = true;
  for (std::size_t i = 0; i < pixels.size(); ++i) {
    same = same && set.pixels[i % 3 * 1024 + i / 3] == pixels[i];
  }
  CHECK(same);
  CHECK(set.labels == Pixels{0});
}

TEST_CASE("scaled pixels are means over the area they cover") {
  const Pixels four{10, 20, 30, 41};
  CHECK(scaled(grey(2, 2, four), 1) == Pixels{25});
  CHECK(scaled(grey(1, 1, {7}), 2) == Pixels{7, 7, 7, 7});
  // 3 to 2: a pixel covers one and a half of the first, which is the mean of
  // 2/3 of one and 1/3 of the next in both directions.
  CHECK(scaled(grey(3, 3, {0, 90, 180, 0, 90, 180, 0, 90, 180}), 2) ==
        Pixels{30, 150, 30, 150});
  // 2 to 3: the middle covers half of each.
  CHECK(scaled(grey(2, 2, {0, 100, 0, 100}), 3) ==
        Pixels{0, 50, 100, 0, 50, 100, 0, 50, 100});
}

TEST_CASE("the largest centred square counts") {
  CHECK(scaled(grey(1, 3, {1, 2, 3}), 1) == Pixels{2});
  CHECK(scaled(grey(4, 2, {9, 9, 1, 2, 3, 4, 9, 9}), 2) == Pixels{1, 2, 3, 4});
}
