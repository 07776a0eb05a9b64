#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <future>
#include <memory>
#include <optional>
#include <vector>

#include "engine/data/image_set.h"
#include "engine/data/sampler.h"
#include "engine/data/worker_pool.h"
#include "engine/tensor/tensor.h"
#include "kernels/augment.h"

namespace ringlet {

// One rank's part of one step.
struct Batch {
  Tensor images;  // [n, 3, height, width], normalised; plain on CPUs
  Tensor labels;  // [n], i32
  // Where pictures are mixed: the labels of those that were mixed in, [n] i32,
  // and the share of the others, an f32 scalar.
  Tensor other_labels = {}, share = {};
  std::size_t global_count;  // pictures of all ranks in this step; n may be 0
  std::vector<std::size_t> shards;  // pictures of each, in their order
  std::uint32_t epoch;
  std::size_t step;
};

struct DataLoaderOptions {
  // `crop`: a random crop from a picture padded by 4 black pixels on each side,
  // and with probability 1/2 a flip.
  Augmentation augment = {};
  // Mixup (Zhang et al., "mixup: beyond empirical risk minimization", 2018):
  // in each step all pictures are mixed with others, by shares drawn from
  // Beta(mixup, mixup); up to 1. 0: they are not.
  double mixup = 0;
  std::uint64_t seed = 0;   // of the augmentation
  std::size_t workers = 0;  // threads that prefetch; 0: next() does the work
  Device device = Device::kCpu;  // where the batches are to lie
  Dtype dtype = Dtype::kF32;     // of the pictures
};

// Yields the batches of this rank, in order:
//
//   const auto loader = make_loader(data.train, DistributedSampler({...}), {});
//   loader->start(epoch);
//   while (std::optional<Batch> batch = loader->next()) ...
class BatchSource {
 public:
  virtual ~BatchSource() = default;

  // Of an epoch.
  virtual std::size_t steps() const = 0;
  // Goes to `first_step` of `epoch`, whatever was read so far.
  virtual void start(std::uint32_t epoch, std::size_t first_step = 0) = 0;
  // The next batch, or nothing at the end of the epoch.
  virtual std::optional<Batch> next() = 0;
};

// A DataLoader, or on CUDA a DeviceLoader.
std::unique_ptr<BatchSource> make_loader(const ImageSet& images,
                                         const DistributedSampler& sampler,
                                         const DataLoaderOptions& options);

// Throw an Error where a sampler is for another set, or a picture's label for
// another number of classes.
void check_sampler(const ImageSet& images, const DistributedSampler& sampler);
void check_label(const ImageSet& images, std::size_t index);

// From Beta(mixup, mixup), for all pictures of a step: a pure function of the
// arguments. 1 where mixup is 0.
float draw_share(double mixup, std::uint64_t seed, std::uint32_t epoch,
                 std::size_t step);

// What is drawn for a picture is a pure function of (seed, epoch, index of the
// picture), and whom it is mixed with one of (seed, epoch, step), so that the
// batches are bit for bit the same for any number of workers, and joined over
// the ranks for any number of ranks. Up to two batches per worker are made
// ahead. Used by one thread at a time.
class DataLoader final : public BatchSource {
 public:
  // `images` must outlive the loader.
  DataLoader(const ImageSet& images, const DistributedSampler& sampler,
             const DataLoaderOptions& options);

  std::size_t steps() const override { return sampler_.steps(); }

  // Begins to prefetch.
  void start(std::uint32_t epoch, std::size_t first_step = 0) override;

  // An exception from the making of a batch is thrown here, in that batch's
  // turn.
  std::optional<Batch> next() override;

 private:
  using Order = std::shared_ptr<const std::vector<std::uint32_t>>;

  void prefetch();
  Batch make_batch(const Order& order, std::uint32_t epoch,
                   std::size_t step) const;
  // Shows n pictures, `place(i)` of the order.
  template <typename Place>
  void show(const Order& order, std::uint32_t epoch, Place place,
            const Tensor& images, const Tensor& labels) const;

  const ImageSet& images_;
  DistributedSampler sampler_;
  DataLoaderOptions options_;

  std::uint32_t epoch_ = 0;
  Order order_;
  std::size_t next_step_;  // the first that no worker was asked for
  std::deque<std::future<Batch>> pending_;
  WorkerPool workers_;  // last: its end waits for tasks that use the rest
};

}  // namespace ringlet
