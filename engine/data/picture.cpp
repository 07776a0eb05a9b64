#include "engine/data/picture.h"

#include <fmt/format.h>
#include <png.h>
#include <turbojpeg.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>
#include <string_view>

#include "kernels/runtime/check.h"

namespace ringlet {
namespace {

constexpr std::string_view kPngStart = "\x89PNG\r\n\x1a\n";
constexpr std::string_view kJpegStart = "\xff\xd8\xff";
constexpr std::size_t kMostBytes = std::size_t{256} << 20;  // of a file

using Bytes = std::vector<unsigned char>;

[[noreturn]] void fail(const std::filesystem::path& path,
                       const std::string& reason) {
  throw Error(fmt::format("{}: {}", path.string(), reason));
}

Bytes read_bytes(const std::filesystem::path& path) {
  std::error_code reason;
  const auto size = std::filesystem::file_size(path, reason);
  if (reason) fail(path, "cannot read: " + reason.message());
  if (size > kMostBytes) {
    fail(path, fmt::format("{} bytes, expected a picture of at most {}", size,
                           kMostBytes));
  }
  Bytes bytes(size);
  std::ifstream file(path, std::ios::binary);
  if (!file.read(reinterpret_cast<char*>(bytes.data()),
                 static_cast<std::streamsize>(size))) {
    fail(path, fmt::format("cannot read: {}", std::strerror(errno)));
  }
  return bytes;
}

// Memory for a picture of the size that a file says.
Picture empty_picture(const std::filesystem::path& path, std::size_t height,
                      std::size_t width) {
  if (height == 0 || width == 0 || height > kMostPixels / width) {
    fail(path, fmt::format("{}x{} pixels, expected 1 to {}", width, height,
                           kMostPixels));
  }
  return {height, width, Bytes(height * width * kImageChannels)};
}

Picture read_png(const std::filesystem::path& path, const Bytes& bytes) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  const std::unique_ptr<png_image, decltype(&png_image_free)> owner(
      &image, png_image_free);
  const auto check = [&](int succeeded) {
    if (succeeded == 0) {
      fail(path, fmt::format("a damaged PNG: {}", image.message));
    }
  };
  check(png_image_begin_read_from_memory(&image, bytes.data(), bytes.size()));
  Picture picture = empty_picture(path, image.height, image.width);
  image.format = PNG_FORMAT_RGB;
  const png_color white{255, 255, 255};
  check(png_image_finish_read(&image, &white, picture.rgb.data(), 0, nullptr));
  return picture;
}

Picture read_jpeg(const std::filesystem::path& path, const Bytes& bytes) {
  // A cut file is only a warning, which would leave the rest of it grey.
  constexpr int kFlags =
      TJFLAG_ACCURATEDCT | TJFLAG_STOPONWARNING | TJFLAG_LIMITSCANS;
  const std::unique_ptr<void, decltype(&tjDestroy)> jpeg(tjInitDecompress(),
                                                         tjDestroy);
  const auto check = [&](int status) {
    if (status != 0) {
      fail(path, fmt::format("a damaged JPEG, or of a kind that cannot be "
                             "read: {}",
                             tjGetErrorStr2(jpeg.get())));
    }
  };
  check(jpeg ? 0 : -1);
  int width = 0, height = 0, subsampling = 0, colors = 0;
  check(tjDecompressHeader3(jpeg.get(), bytes.data(), bytes.size(), &width,
                            &height, &subsampling, &colors));
  Picture picture = empty_picture(path, static_cast<std::size_t>(height),
                                  static_cast<std::size_t>(width));
  check(tjDecompress2(jpeg.get(), bytes.data(), bytes.size(),
                      picture.rgb.data(), width, 0, height, TJPF_RGB, kFlags));
  return picture;
}

// What scales `from` pixels in a row to `to`: both rows are as long as from x
// to units, of which a pixel of the first has `to` and one of the second
// `from`.
struct Scale {
  std::uint64_t from, to;

  std::uint64_t first(std::uint64_t target) const { return target * from / to; }
  std::uint64_t last(std::uint64_t target) const {
    return ((target + 1) * from - 1) / to;
  }
  // Units that pixel `source` and pixel `target` have in common.
  std::uint64_t common(std::uint64_t source, std::uint64_t target) const {
    return std::min((source + 1) * to, (target + 1) * from) -
           std::max(source * to, target * from);
  }
};

}  // namespace

Picture read_picture(const std::filesystem::path& path) {
  const Bytes bytes = read_bytes(path);
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()),
                              bytes.size());
  if (text.starts_with(kPngStart)) return read_png(path, bytes);
  if (text.starts_with(kJpegStart)) return read_jpeg(path, bytes);
  fail(path, "neither a PNG nor a JPEG");
}

void append_picture(const Picture& picture, ImageSet& set) {
  RINGLET_CHECK(set.height == set.width, "pictures of {}x{}, expected squares",
                set.width, set.height);
  const std::size_t side = std::min(picture.height, picture.width);
  const std::size_t top = (picture.height - side) / 2;
  const std::size_t left = (picture.width - side) / 2;
  const Scale scale{side, set.height};
  const std::uint64_t area = scale.from * scale.from;
  for (std::size_t channel = 0; channel < kImageChannels; ++channel) {
    for (std::size_t i = 0; i < set.height * set.width; ++i) {
      const std::size_t row = i / set.width, column = i % set.width;
      std::uint64_t sum = area / 2;  // to round
      for (auto y = scale.first(row); y <= scale.last(row); ++y) {
        const std::uint64_t height = scale.common(y, row);
        for (auto x = scale.first(column); x <= scale.last(column); ++x) {
          sum +=
              height * scale.common(x, column) *
              picture
                  .rgb[((top + y) * picture.width + left + x) * kImageChannels +
                       channel];
        }
      }
      set.pixels.push_back(static_cast<std::uint8_t>(sum / area));
    }
  }
  set.labels.push_back(0);
}

}  // namespace ringlet
