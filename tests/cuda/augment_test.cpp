#include "kernels/augment.h"

#include "cuda/support.h"

using namespace ringlet;
using namespace ringlet::testing;

namespace {

constexpr std::uint64_t kSeed = 11;
constexpr std::uint32_t kEpoch = 3;

// A small data set, and an order of its pictures.
struct Pictures {
  AugmentParams params;
  std::size_t count;
  std::vector<std::uint8_t> pixels, labels;
  std::vector<std::uint32_t> order;

  Pictures(std::size_t height, std::size_t width, std::size_t pictures)
      : params{height, width, {0.49f, 0.48f, 0.45f}, {0.25f, 0.24f, 0.26f}},
        count(pictures) {
    for (const double v :
         random_values(count * 3 * height * width, 1, 0, 256)) {
      pixels.push_back(static_cast<std::uint8_t>(v));
    }
    for (std::size_t i = 0; i < count; ++i) {
      labels.push_back(static_cast<std::uint8_t>(i * 3 % 10));
      order.push_back(static_cast<std::uint32_t>((i * 5 + 2) % count));
    }
  }
};

// The batch as the CPU makes it, turned to channels last.
std::vector<double> expect(const Pictures& all, std::size_t first,
                           std::size_t count, bool crop, std::size_t channels) {
  const std::size_t pixels = all.params.height * all.params.width;
  std::vector<PictureCrop> crops;
  for (std::size_t i = first; i < first + count; ++i) {
    const std::uint32_t index = all.order[i];
    crops.push_back({all.pixels.data() + index * 3 * pixels,
                     crop ? draw_crop(kSeed, kEpoch, index) : Crop{}});
  }
  std::vector<float> plain(count * 3 * pixels);
  augment(all.params, crops.data(), count, plain.data());
  std::vector<double> last(count * pixels * channels);
  for (std::size_t i = 0; i < plain.size(); ++i) {
    const std::size_t picture = i / pixels / 3, c = i / pixels % 3;
    last[(picture * pixels + i % pixels) * channels + c] =
        static_cast<double>(plain[i]);
  }
  return last;
}

void check(const Pictures& all, std::size_t first, std::size_t count, bool crop,
           std::size_t channels, Dtype dtype) {
  INFO(name_of(dtype) << " " << all.params.height << "x" << all.params.width
                      << " pictures " << first << " to " << first + count
                      << " crop " << crop << " channels " << channels);
  const DeviceArray<std::uint8_t> pixels(all.pixels), labels(all.labels);
  const DeviceArray<std::uint32_t> order(all.order);
  const DeviceArray<cuda::BatchPlace> place(std::vector<cuda::BatchPlace>{
      {kEpoch, static_cast<std::uint32_t>(first)}});
  const std::vector<double> wanted = expect(all, first, count, crop, channels);
  std::vector<std::int32_t> wanted_labels;
  for (std::size_t i = first; i < first + count; ++i) {
    wanted_labels.push_back(all.labels[all.order[i]]);
  }
  in_all_orders([&] {
    const AnyArray y(wanted.size(), dtype);
    const DeviceArray<std::int32_t> y_labels(count);
    cuda::augment({.params = all.params,
                   .pixels = pixels.data(),
                   .labels = labels.data(),
                   .order = order.data(),
                   .place = place.data(),
                   .seed = kSeed,
                   .crop = crop,
                   .count = count,
                   .dtype = dtype,
                   .y = y.data(),
                   .channels = channels,
                   .y_labels = y_labels.data()});
    CHECK(largest_error(y.values(), wanted) < rounding(dtype) + 2e-7);
    CHECK((y_labels.to_host() == wanted_labels));
    return Bits{y.raw()};
  });
}

}  // namespace

TEST_CASE("CUDA's batches are the loader's: order, crops, flips, labels") {
  const Pictures cifar(32, 32, 7), odd(5, 9, 40);
  for (const Dtype dtype : kActivationTypes) {
    for (const bool crop : {false, true}) {
      check(cifar, 2, 5, crop, 3, dtype);
      check(odd, 0, 40, crop, 4, dtype);
      check(odd, 39, 1, crop, 8, dtype);
      check(odd, 40, 0, crop, 3, dtype);
    }
  }
}
