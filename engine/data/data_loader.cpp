#include "engine/data/data_loader.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/data/device_loader.h"
#include "kernels/augment.h"
#include "kernels/runtime/check.h"

namespace ringlet {
namespace {

constexpr std::size_t kBatchesPerWorker = 2;  // one in work, one ready

}  // namespace

std::unique_ptr<BatchSource> make_loader(const ImageSet& images,
                                         const DistributedSampler& sampler,
                                         const DataLoaderOptions& options) {
  if (options.device == Device::kCuda) {
    return std::make_unique<DeviceLoader>(images, sampler, options);
  }
  return std::make_unique<DataLoader>(images, sampler, options);
}

void check_sampler(const ImageSet& images, const DistributedSampler& sampler) {
  RINGLET_CHECK(sampler.options().count == images.count(),
                "a sampler of {} pictures for {}, which has {}",
                sampler.options().count, images.name, images.count());
}

void check_label(const ImageSet& images, std::size_t index) {
  const std::uint8_t label = images.labels[index];
  RINGLET_CHECK(label < images.classes.size(),
                "{} has label {} at picture {}, expected 0 to {}", images.name,
                label, index, images.classes.size() - 1);
}

DataLoader::DataLoader(const ImageSet& images,
                       const DistributedSampler& sampler,
                       const DataLoaderOptions& options)
    : images_(images),
      sampler_(sampler),
      options_(options),
      next_step_(sampler.steps()),
      workers_(options.workers) {
  check_sampler(images, sampler);
}

void DataLoader::start(std::uint32_t epoch, std::size_t first_step) {
  workers_.clear();
  pending_.clear();
  epoch_ = epoch;
  next_step_ = first_step;
  order_ =
      std::make_shared<const std::vector<std::uint32_t>>(sampler_.order(epoch));
  if (workers_.size() > 0) prefetch();
}

std::optional<Batch> DataLoader::next() {
  prefetch();
  if (pending_.empty()) return std::nullopt;
  std::future<Batch> made = std::move(pending_.front());
  pending_.pop_front();
  Batch batch = made.get();
  if (options_.dtype != Dtype::kF32) {  // by this thread's backend and threads
    batch.images = batch.images.to_layout(Layout::kPlain, options_.dtype);
  }
  return batch;
}

// Keeps the workers busy: asks for batches until enough are on their way.
void DataLoader::prefetch() {
  const std::size_t ahead =
      std::max<std::size_t>(1, workers_.size() * kBatchesPerWorker);
  for (; pending_.size() < ahead && next_step_ < steps(); ++next_step_) {
    // The order is shared: a task of an epoch left early may still run.
    const auto task = std::make_shared<std::packaged_task<Batch()>>(
        [this, order = order_, epoch = epoch_, step = next_step_] {
          return make_batch(order, epoch, step);
        });
    pending_.push_back(task->get_future());
    workers_.add([task] { (*task)(); });
  }
}

// Johnk's algorithm, for which alpha must not be large.
float draw_share(double mixup, std::uint64_t seed, std::uint32_t epoch,
                 std::size_t step) {
  if (mixup == 0) return 1;
  PhiloxStream random(seed, RandomPurpose::kMixup, epoch,
                      static_cast<std::uint32_t>(step));
  const auto draw = [&] {
    return std::pow(static_cast<double>(random.uniform()), 1 / mixup);
  };
  for (;;) {
    const double x = draw(), y = draw();
    if (x + y > 0 && x + y <= 1) return static_cast<float>(x / (x + y));
  }
}

template <typename Place>
void DataLoader::show(const Order& order, std::uint32_t epoch, Place place,
                      const Tensor& images, const Tensor& labels) const {
  std::vector<PictureCrop> crops(labels.count());
  for (std::size_t i = 0; i < crops.size(); ++i) {
    const std::uint32_t index = (*order)[place(i)];
    check_label(images_, index);
    labels.data<std::int32_t>()[i] = images_.labels[index];
    crops[i] = {images_.image(index),
                draw_crop(options_.augment, {options_.seed, epoch, index},
                          images_.height, images_.width)};
  }
  ringlet::augment({images_.height, images_.width, images_.mean, images_.std},
                   crops.data(), crops.size(), images.data());
}

Batch DataLoader::make_batch(const Order& order, std::uint32_t epoch,
                             std::size_t step) const {
  const DistributedSampler::Share share = sampler_.share(step);
  const auto n = static_cast<std::int64_t>(share.count);
  Batch batch{.images = Tensor({n, kImageChannels,
                                static_cast<std::int64_t>(images_.height),
                                static_cast<std::int64_t>(images_.width)}),
              .labels = Tensor({n}, Dtype::kI32),
              .global_count = share.global_count,
              .shards = share.shards,
              .epoch = epoch,
              .step = step};
  show(
      order, epoch, [&](std::size_t i) { return share.begin + i; },
      batch.images, batch.labels);
  if (options_.mixup == 0) return batch;
  const float part = draw_share(options_.mixup, options_.seed, epoch, step);
  const Tensor others(batch.images.shape());
  batch.other_labels = Tensor({n}, Dtype::kI32);
  batch.share = Tensor::of({}, {part});
  show(
      order, epoch, [&](std::size_t i) { return share.partner - i; }, others,
      batch.other_labels);
  mix(others.count(), part, others.data(), batch.images.data());
  return batch;
}

}  // namespace ringlet
