#pragma once

#include <cstdint>
#include <vector>

#include "engine/data/data_loader.h"
#include "kernels/augment.h"

namespace ringlet {

// The DataLoader of a GPU: the whole set lies in its memory (150 MB for
// CIFAR-10's training pictures), and one kernel makes a batch, with the same
// crops and flips. Belongs to one thread.
class DeviceLoader final : public BatchSource {
 public:
  // Copies `images`, which are not needed afterwards. Throws where a label is
  // out of range.
  DeviceLoader(const ImageSet& images, const DistributedSampler& sampler,
               const DataLoaderOptions& options);

  std::size_t steps() const override { return sampler_.steps(); }
  void start(std::uint32_t epoch, std::size_t first_step = 0) override;
  std::optional<Batch> next() override;

  // Goes on after the next `steps`, which somebody else has made.
  void skip(std::size_t steps) { next_step_ += steps; }

  // Of the epoch's steps, on the GPU.
  const cuda::BatchPlace* places() const {
    return reinterpret_cast<const cuda::BatchPlace*>(places_.data());
  }
  // A batch like that of `step`, from a place that is known on the GPU.
  Batch batch_at(const cuda::BatchPlace* place, std::size_t step) const;

 private:
  DistributedSampler sampler_;
  DataLoaderOptions options_;
  AugmentParams params_;
  Tensor pixels_, labels_;  // of all pictures
  Tensor order_;            // the epoch's, i32
  Buffer places_;           // a BatchPlace per step
  std::uint32_t epoch_ = 0;
  std::size_t next_step_;
};

}  // namespace ringlet
