#include "engine/data/data_loader.h"

#include <cmath>
#include <set>

#include "engine/data/synthetic.h"
#include "kernels/runtime/check.h"
#include "support/catch.h"

using namespace ringlet;

namespace {

constexpr std::size_t kCount = 50;
constexpr std::size_t kGlobalBatch = 12;

const ImageSet& pictures() {
  static const ImageSet set = make_synthetic(kCount, 0).train;
  return set;
}

// All that an epoch yields on one rank.
struct Epoch {
  std::vector<float> images;
  std::vector<std::int32_t> labels, other_labels;
  std::vector<std::size_t> sizes;  // pictures of each batch
  bool operator==(const Epoch&) const = default;
};

void append(const Batch& batch, Epoch& epoch) {
  const float* images = batch.images.data();
  const auto* labels = batch.labels.data<std::int32_t>();
  epoch.images.insert(epoch.images.end(), images,
                      images + batch.images.count());
  epoch.labels.insert(epoch.labels.end(), labels,
                      labels + batch.labels.count());
  if (batch.other_labels.defined()) {
    const auto* others = batch.other_labels.data<std::int32_t>();
    epoch.other_labels.insert(epoch.other_labels.end(), others,
                              others + batch.other_labels.count());
  }
  epoch.sizes.push_back(batch.labels.count());
}

Epoch read_rest(DataLoader& loader) {
  Epoch epoch;
  while (const std::optional<Batch> batch = loader.next()) {
    append(*batch, epoch);
  }
  return epoch;
}

DistributedSampler sampler(std::size_t rank = 0, std::size_t world_size = 1) {
  return DistributedSampler({kCount, kGlobalBatch, 9, rank, world_size});
}

DataLoaderOptions cropped(std::size_t workers, std::uint64_t seed = 9,
                          bool crop = true) {
  return {.augment = {.crop = crop}, .seed = seed, .workers = workers};
}

DataLoaderOptions mixed(std::size_t workers) {
  return {.augment = {.crop = true, .cutout = 8},
          .mixup = 0.5,
          .seed = 9,
          .workers = workers};
}

Epoch read_epoch(std::size_t workers, std::uint32_t number = 4,
                 std::uint64_t seed = 9, bool augment = true) {
  DataLoader loader(pictures(), sampler(), cropped(workers, seed, augment));
  loader.start(number);
  return read_rest(loader);
}

}  // namespace

TEST_CASE("Batches are the same bits for any number of workers") {
  const Epoch expected = read_epoch(0);
  CHECK(expected.sizes == std::vector<std::size_t>{12, 12, 12, 12, 2});
  CHECK(read_epoch(1) == expected);
  CHECK(read_epoch(3) == expected);
  CHECK(read_epoch(16) == expected);
}

TEST_CASE("Batches of N ranks joined are those of one, bit for bit") {
  const std::size_t world_size = GENERATE(2, 3, 5, 8);
  std::vector<std::unique_ptr<DataLoader>> ranks;
  for (std::size_t rank = 0; rank < world_size; ++rank) {
    ranks.push_back(std::make_unique<DataLoader>(
        pictures(), sampler(rank, world_size), mixed(rank % 2)));
    ranks.back()->start(4);
  }
  DataLoader one(pictures(), sampler(), mixed(0));
  one.start(4);
  while (const std::optional<Batch> whole = one.next()) {
    Epoch expected, joined;
    append(*whole, expected);
    for (const std::unique_ptr<DataLoader>& rank : ranks) {
      const std::optional<Batch> part = rank->next();
      REQUIRE(part.has_value());
      CHECK(part->global_count == whole->labels.count());
      CHECK(part->step == whole->step);
      CHECK(part->share.item() == whole->share.item());
      CHECK(part->images.shape() ==
            Shape{part->labels.dim(0), 3, 32, 32});  // [0, 3, 32, 32] as well
      append(*part, joined);
    }
    CHECK(joined.images == expected.images);
    CHECK(joined.labels == expected.labels);
    CHECK(joined.other_labels == expected.other_labels);
    CHECK(joined.other_labels.size() == joined.labels.size());
  }
  for (const auto& rank : ranks) CHECK_FALSE(rank->next().has_value());
}

TEST_CASE("Epochs and seeds differ, and without augmentation do not blur") {
  CHECK(read_epoch(1, 4).labels != read_epoch(1, 5).labels);
  CHECK(read_epoch(1, 4, 9).images != read_epoch(1, 4, 10).images);
  CHECK(read_epoch(1, 4, 9).labels == read_epoch(1, 4, 10).labels);
  CHECK(read_epoch(1, 4, 9, false) == read_epoch(0, 4, 10, false));
}

TEST_CASE("Without augmentation a picture is itself, normalised") {
  const ImageSet& set = pictures();
  DataLoader loader(set, sampler(), {});
  loader.start(4);
  const std::vector<std::uint32_t> order = sampler().order(4);
  const std::optional<Batch> batch = loader.next();
  REQUIRE(batch.has_value());
  CHECK(batch->epoch == 4);
  const std::size_t size = set.image_bytes();
  for (std::size_t i = 0; i < kGlobalBatch; ++i) {
    CHECK(batch->labels.data<std::int32_t>()[i] == set.labels[order[i]]);
    for (const std::size_t at : {std::size_t{0}, size / 2, size - 1}) {
      const std::size_t c = at / (32 * 32);
      const double pixel = set.image(order[i])[at] / 255.0;
      CHECK(batch->images.data()[i * size + at] ==
            Approx((pixel - set.mean[c]) / set.std[c]).margin(1e-6));
    }
  }
}

TEST_CASE("Augmentation draws every shift of the padded picture, and flips") {
  // A single white pixel in the middle shows where the crop was taken; two of
  // different grey show a flip.
  ImageSet set;
  set.classes = {"dot"};
  set.mean = {0, 0, 0};
  set.std = {1, 1, 1};
  set.labels.assign(4000, 0);
  set.pixels.assign(4000 * set.image_bytes(), 0);
  for (std::size_t i = 0; i < set.count(); ++i) {
    set.pixels[i * set.image_bytes() + 16 * 32 + 16] = 255;
    set.pixels[i * set.image_bytes() + 16 * 32 + 17] = 51;
  }
  DataLoader loader(set, DistributedSampler({4000, 4000}), cropped(1, 1));
  loader.start(0);
  const std::optional<Batch> batch = loader.next();
  REQUIRE(batch.has_value());
  std::vector<int> rows(9), columns(9);
  int flips = 0;
  for (std::size_t i = 0; i < set.count(); ++i) {
    const float* image = batch->images.data() + i * set.image_bytes();
    const std::ptrdiff_t at = std::max_element(image, image + 1024) - image;
    const bool flip = image[at - 1] > 0.1f;
    const std::ptrdiff_t column = flip ? 31 - at % 32 : at % 32;
    ++rows.at(static_cast<std::size_t>(16 + 4 - at / 32));
    ++columns.at(static_cast<std::size_t>(16 + 4 - column));
    flips += flip;
  }
  for (const int times : rows) CHECK(std::abs(times - 444) < 100);
  for (const int times : columns) CHECK(std::abs(times - 444) < 100);
  CHECK(std::abs(flips - 2000) < 160);
}

TEST_CASE("Mixed pictures are the shares of two, mirrored in the step") {
  DataLoaderOptions options = mixed(1);
  DataLoader loader(pictures(), sampler(), options);
  options.mixup = 0;
  DataLoader plain(pictures(), sampler(), options);
  loader.start(4);
  plain.start(4);
  std::set<double> shares;
  while (const std::optional<Batch> batch = loader.next()) {
    const std::optional<Batch> own = plain.next();
    REQUIRE(own.has_value());
    CHECK_FALSE(own->other_labels.defined());
    const double share = batch->share.item();
    shares.insert(share);
    const std::size_t n = batch->labels.count();
    const std::size_t size = pictures().image_bytes();
    double worst = 0;
    for (std::size_t i = 0; i < n; ++i) {
      const std::size_t other = n - 1 - i;
      RINGLET_CHECK(batch->labels.data<std::int32_t>()[i] ==
                            own->labels.data<std::int32_t>()[i] &&
                        batch->other_labels.data<std::int32_t>()[i] ==
                            own->labels.data<std::int32_t>()[other],
                    "labels of picture {}", i);
      for (std::size_t j = 0; j < size; ++j) {
        const auto at = [&](std::size_t k) {
          return static_cast<double>(own->images.data()[k * size + j]);
        };
        const double got = batch->images.data()[i * size + j];
        worst = std::max(
            worst, std::abs(got - share * at(i) - (1 - share) * at(other)));
      }
    }
    CHECK(worst < 1e-6);
  }
  CHECK(shares.size() == 5);  // one for each step
}

TEST_CASE("Shares are drawn from Beta's distribution") {
  for (const double mixup : {0.05, 0.2, 1.0}) {
    INFO("Beta(" << mixup << ", " << mixup << ")");
    constexpr std::size_t kDraws = 20000;
    double sum = 0, squares = 0;
    for (std::size_t step = 0; step < kDraws; ++step) {
      const double share = draw_share(mixup, 3, 1, step);
      RINGLET_CHECK(share >= 0 && share <= 1, "a share of {}", share);
      sum += share - 0.5;
      squares += (share - 0.5) * (share - 0.5);
    }
    // Mean 1/2, variance 1 / (4 (2 a + 1)); five standard errors of each.
    CHECK(std::abs(sum / kDraws) < 5 * 0.5 / std::sqrt(kDraws));
    CHECK(squares / kDraws == Approx(1 / (4 * (2 * mixup + 1)))
                                  .margin(0.125 * 5 / std::sqrt(kDraws)));
  }
  CHECK(draw_share(0.2, 3, 1, 5) == draw_share(0.2, 3, 1, 5));
  CHECK(draw_share(0.2, 3, 1, 5) != draw_share(0.2, 3, 2, 5));
  CHECK(draw_share(0.2, 3, 1, 5) != draw_share(0.2, 4, 1, 5));
  CHECK(draw_share(0, 3, 1, 5) == 1);
}

TEST_CASE("A picture is cropped anew in each epoch") {
  SamplerOptions in_order{kCount, kGlobalBatch};
  in_order.shuffle = false;
  DataLoader loader(pictures(), DistributedSampler(in_order), cropped(1));
  loader.start(0);
  const Epoch first = read_rest(loader);
  loader.start(1);
  const Epoch second = read_rest(loader);
  CHECK(first.labels == second.labels);
  CHECK(first.images != second.images);
}

TEST_CASE("A loader starts anywhere, at any time") {
  const std::size_t workers = GENERATE(0, 1, 3);
  const Epoch whole = read_epoch(0);
  DataLoader loader(pictures(), sampler(), cropped(workers));
  CHECK_FALSE(loader.next().has_value());
  loader.start(3);
  loader.next();
  loader.start(4, 3);
  Epoch tail = read_rest(loader);
  CHECK(tail.sizes == std::vector<std::size_t>{12, 2});
  CHECK(std::equal(
      tail.images.begin(), tail.images.end(),
      whole.images.end() - static_cast<std::ptrdiff_t>(tail.images.size())));
  loader.start(4);
  CHECK(read_rest(loader) == whole);
}

TEST_CASE("A loader that is dropped half-way ends its workers") {
  for (int i = 0; i < 20; ++i) {
    DataLoader loader(pictures(), sampler(), cropped(3));
    loader.start(0);
    if (i % 2 == 0) loader.next();
  }
}

TEST_CASE("An exception in a worker reaches next(), in its batch's turn") {
  const std::size_t workers = GENERATE(0, 1, 3);
  ImageSet set = pictures();
  const std::vector<std::uint32_t> order = sampler().order(0);
  set.labels[order[2 * kGlobalBatch]] = 10;
  DataLoader loader(set, sampler(), cropped(workers));
  loader.start(0);
  CHECK(loader.next()->step == 0);
  CHECK(loader.next()->step == 1);
  CHECK_THROWS_WITH(loader.next(), ContainsSubstring("has label 10"));
}

TEST_CASE("A sampler of another set is refused") {
  const DistributedSampler other({kCount + 1, kGlobalBatch});
  CHECK_THROWS_AS(DataLoader(pictures(), other, {}), Error);
}
