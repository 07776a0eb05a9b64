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

// The batch as the CPU makes it, turned to channels last. Where `share` is not
// 1, it is mixed with the pictures before `first`, from the last to the first.
std::vector<double> expect(const Pictures& all, std::size_t first,
                           std::size_t count, const Augmentation& what,
                           float share, std::size_t channels) {
  const std::size_t pixels = all.params.height * all.params.width;
  const auto show = [&](auto place) {
    std::vector<PictureCrop> crops;
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint32_t index = all.order[place(i)];
      crops.push_back({all.pixels.data() + index * 3 * pixels,
                       draw_crop(what, {kSeed, kEpoch, index},
                                 all.params.height, all.params.width)});
    }
    std::vector<float> plain(count * 3 * pixels);
    augment(all.params, crops.data(), count, plain.data());
    return plain;
  };
  std::vector<float> plain = show([&](std::size_t i) { return first + i; });
  if (share < 1) {
    mix(plain.size(), share,
        show([&](std::size_t i) { return first - i; }).data(), plain.data());
  }
  std::vector<double> last(count * pixels * channels);
  for (std::size_t i = 0; i < plain.size(); ++i) {
    const std::size_t picture = i / pixels / 3, c = i / pixels % 3;
    last[(picture * pixels + i % pixels) * channels + c] =
        static_cast<double>(plain[i]);
  }
  return last;
}

struct Case {
  std::size_t first, count;
  Augmentation what;
  std::size_t channels;
  float share = 1;
};

void check(const Pictures& all, const Case& c, Dtype dtype) {
  INFO(name_of(dtype) << " " << all.params.height << "x" << all.params.width
                      << " pictures " << c.first << " to " << c.first + c.count
                      << " crop " << c.what.crop << " cutout " << c.what.cutout
                      << " share " << c.share << " channels " << c.channels);
  const bool mixes = c.share < 1;
  const DeviceArray<std::uint8_t> pixels(all.pixels), labels(all.labels);
  const DeviceArray<std::uint32_t> order(all.order);
  const auto first = static_cast<std::uint32_t>(c.first);
  const DeviceArray<cuda::BatchPlace> place(
      std::vector<cuda::BatchPlace>{{kEpoch, first, first, c.share}});
  const std::vector<double> wanted =
      expect(all, c.first, c.count, c.what, c.share, c.channels);
  std::vector<std::int32_t> wanted_labels, wanted_others;
  for (std::size_t i = 0; i < c.count; ++i) {
    wanted_labels.push_back(all.labels[all.order[c.first + i]]);
    if (mixes) wanted_others.push_back(all.labels[all.order[c.first - i]]);
  }
  in_all_orders([&] {
    const AnyArray y(wanted.size(), dtype);
    const DeviceArray<std::int32_t> y_labels(c.count), y_others(c.count);
    const DeviceArray<float> y_share(std::size_t{1});
    cuda::augment({.params = all.params,
                   .pixels = pixels.data(),
                   .labels = labels.data(),
                   .order = order.data(),
                   .place = place.data(),
                   .seed = kSeed,
                   .what = c.what,
                   .count = c.count,
                   .dtype = dtype,
                   .y = y.data(),
                   .channels = c.channels,
                   .y_labels = y_labels.data(),
                   .y_other_labels = mixes ? y_others.data() : nullptr,
                   .y_share = mixes ? y_share.data() : nullptr});
    CHECK(largest_error(y.values(), wanted) < rounding(dtype) + 4e-7);
    CHECK((y_labels.to_host() == wanted_labels));
    if (mixes) {
      CHECK((y_others.to_host() == wanted_others));
      CHECK(y_share.to_host()[0] == c.share);
    }
    return Bits{y.raw()};
  });
}

}  // namespace

TEST_CASE("CUDA's batches are the loader's: order, crops, flips, labels") {
  const Pictures cifar(32, 32, 7), odd(5, 9, 40);
  for (const Dtype dtype : kActivationTypes) {
    for (const Augmentation& what : {Augmentation{}, Augmentation{.crop = true},
                                     Augmentation{.crop = true, .cutout = 4}}) {
      check(cifar, {2, 5, what, 3}, dtype);
      check(odd, {0, 40, what, 4}, dtype);
      check(odd, {39, 1, what, 8}, dtype);
      check(odd, {40, 0, what, 3}, dtype);
      check(cifar, {3, 4, what, 4, 0.375f}, dtype);
      check(odd, {20, 20, what, 3, 0.75f}, dtype);
    }
  }
}
