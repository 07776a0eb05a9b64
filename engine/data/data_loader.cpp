#include "engine/data/data_loader.h"

#include <algorithm>
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
  std::future<Batch> batch = std::move(pending_.front());
  pending_.pop_front();
  return batch.get();
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

Batch DataLoader::make_batch(const Order& order, std::uint32_t epoch,
                             std::size_t step) const {
  const DistributedSampler::Share share = sampler_.share(step);
  const auto n = static_cast<std::int64_t>(share.count);
  Batch batch{
      Tensor({n, kImageChannels, static_cast<std::int64_t>(images_.height),
              static_cast<std::int64_t>(images_.width)}),
      Tensor({n}, Dtype::kI32),
      share.global_count,
      share.shards,
      epoch,
      step};
  std::vector<PictureCrop> crops(share.count);
  for (std::size_t i = 0; i < share.count; ++i) {
    const std::uint32_t index = (*order)[share.begin + i];
    check_label(images_, index);
    batch.labels.data<std::int32_t>()[i] = images_.labels[index];
    const std::uint8_t* pixels = images_.image(index);
    crops[i] = {pixels, options_.augment
                            ? draw_crop(options_.seed, epoch, index)
                            : Crop{}};
  }
  augment({images_.height, images_.width, images_.mean, images_.std},
          crops.data(), crops.size(), batch.images.data());
  return batch;
}

}  // namespace ringlet
