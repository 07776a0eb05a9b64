#include "engine/data/device_loader.h"

#include "kernels/backend.h"
#include "kernels/runtime/check.h"
#include "kernels/runtime/cuda_library.h"

namespace ringlet {
namespace {

Tensor bytes_on_gpu(const std::vector<std::uint8_t>& bytes) {
  const Tensor tensor({static_cast<std::int64_t>(bytes.size())}, Dtype::kU8,
                      Layout::kPlain, Device::kCuda);
  copy_memory(tensor.raw(), Device::kCuda, bytes.data(), Device::kCpu,
              bytes.size());
  return tensor;
}

}  // namespace

DeviceLoader::DeviceLoader(const ImageSet& images,
                           const DistributedSampler& sampler,
                           const DataLoaderOptions& options)
    : sampler_(sampler),
      options_(options),
      params_{images.height, images.width, images.mean, images.std},
      pixels_(bytes_on_gpu(images.pixels)),
      labels_(bytes_on_gpu(images.labels)),
      order_({static_cast<std::int64_t>(images.count())}, Dtype::kI32,
             Layout::kPlain, Device::kCuda),
      places_(Buffer::allocate(sampler.steps() * sizeof(cuda::BatchPlace),
                               Device::kCuda)),
      next_step_(sampler.steps()) {
  check_sampler(images, sampler);
  for (std::size_t i = 0; i < images.count(); ++i) check_label(images, i);
}

void DeviceLoader::start(std::uint32_t epoch, std::size_t first_step) {
  epoch_ = epoch;
  next_step_ = first_step;
  const std::vector<std::uint32_t> order = sampler_.order(epoch);
  copy_memory(order_.raw(), Device::kCuda, order.data(), Device::kCpu,
              order_.bytes());
  std::vector<cuda::BatchPlace> places;
  for (std::size_t step = 0; step < steps(); ++step) {
    const DistributedSampler::Share share = sampler_.share(step);
    places.push_back({epoch, static_cast<std::uint32_t>(share.begin),
                      static_cast<std::uint32_t>(share.partner),
                      draw_share(options_.mixup, options_.seed, epoch, step)});
  }
  copy_memory(places_.data(), Device::kCuda, places.data(), Device::kCpu,
              places_.bytes());
}

std::optional<Batch> DeviceLoader::next() {
  if (next_step_ >= steps()) return std::nullopt;
  const std::size_t step = next_step_++;
  return batch_at(places() + step, step);
}

Batch DeviceLoader::batch_at(const cuda::BatchPlace* place,
                             std::size_t step) const {
  const DistributedSampler::Share share = sampler_.share(step);
  const auto size = [](std::size_t value) {
    return static_cast<std::int64_t>(value);
  };
  const auto plain = [](const Shape& shape, Dtype dtype) {
    return Tensor(shape, dtype, Layout::kPlain, Device::kCuda);
  };
  const Shape labels{size(share.count)};
  Batch batch{
      .images = Tensor({size(share.count), kImageChannels, size(params_.height),
                        size(params_.width)},
                       options_.dtype, backend(Device::kCuda).activation_layout,
                       Device::kCuda),
      .labels = plain(labels, Dtype::kI32),
      .global_count = share.global_count,
      .shards = share.shards,
      .epoch = epoch_,
      .step = step};
  const bool mixes = options_.mixup > 0;
  if (mixes) {
    batch.other_labels = plain(labels, Dtype::kI32);
    batch.share = plain({}, Dtype::kF32);
  }
  cuda::library().augment(
      {.params = params_,
       .pixels = pixels_.data<std::uint8_t>(),
       .labels = labels_.data<std::uint8_t>(),
       .order = static_cast<const std::uint32_t*>(order_.raw()),
       .place = place,
       .seed = options_.seed,
       .what = options_.augment,
       .count = share.count,
       .dtype = options_.dtype,
       .y = batch.images.raw(),
       .channels = kImageChannels,
       .y_labels = batch.labels.data<std::int32_t>(),
       .y_other_labels =
           mixes ? batch.other_labels.data<std::int32_t>() : nullptr,
       .y_share = mixes ? batch.share.data() : nullptr});
  return batch;
}

}  // namespace ringlet
