// The input is a PNG or a JPEG. One that is accepted has as many pixels as it
// says, and can be scaled.

#include "engine/data/picture.h"

#include "engine/data/cifar10.h"
#include "tests/fuzz/support.h"

using namespace ringlet;
using namespace ringlet::fuzzing;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data,
                                      std::size_t size) {
  static const MemoryFile input;
  input.set({data, size});
  Picture picture;
  if (!accepts(input.path(), [&] { picture = read_picture(input.path()); })) {
    return 0;
  }
  const std::size_t pixels = picture.height * picture.width;
  require(pixels > 0 && pixels <= kMostPixels, "a size that is refused");
  require(picture.rgb.size() == kImageChannels * pixels,
          "another number of pixels");
  ImageSet set = empty_cifar10("fuzz");
  append_picture(picture, set);
  require(set.count() == 1 && set.pixels.size() == set.image_bytes(),
          "not scaled to the set's size");
  return 0;
}
