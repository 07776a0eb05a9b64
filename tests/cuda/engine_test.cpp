#include <atomic>

#include "collectives/gpu/gpu_communicator.h"
#include "collectives/gpu/nccl_communicator.h"
#include "engine/autograd/parameter_arena.h"
#include "engine/data/device_loader.h"
#include "engine/data/synthetic.h"
#include "engine/nn/layers.h"
#include "engine/parallel/synchronised_batch_norm.h"
#include "kernels/backend.h"
#include "kernels/runtime/check.h"
#include "support/catch.h"
#include "support/reference.h"
#include "support/spawn_ranks.h"

// The engine on a GPU, or on the emulator: against itself on the CPU.
using namespace ringlet;
using namespace ringlet::testing;

namespace {

double distance(const Tensor& got, const Tensor& expected) {
  return relative_distance(to_array(got), to_array(expected));
}

Tensor random_tensor(std::vector<std::size_t> shape, std::uint32_t seed) {
  return to_tensor(random_array(std::move(shape), seed));
}

}  // namespace

namespace {

// What a step of a batch norm over all ranks leaves on one of them, which has
// so many pictures; where none, the one that it goes through.
std::vector<Tensor> batch_norm_step(Device device, Communicator& ranks,
                                    std::size_t pictures) {
  constexpr std::size_t kChannels = 19;
  const auto rank = static_cast<std::uint32_t>(ranks.rank());
  const auto there = [&](const Tensor& tensor) {
    return tensor.to(device).to_layout(backend(device).activation_layout);
  };
  const std::vector<std::size_t> shape = {std::max<std::size_t>(pictures, 1),
                                          kChannels, 3, 3};
  BatchNorm2d norm(kChannels);
  norm.initialize(1);
  norm.to(device);
  SynchronisedBatchNorm synchronised(norm, ranks);
  synchronised.count_pictures(pictures > 0);
  const Variable x(there(random_tensor(shape, 10 + rank)), true);
  const Variable residual(there(random_tensor(shape, 20 + rank)), true);
  const Tensor dy = there(random_tensor(shape, 30 + rank));
  if (pictures == 0) dy.fill_zero();
  const Variable y = norm.forward_relu(x, residual);
  backward(make_result("end", Tensor::of({}, {0}), {y}, [&](const Tensor&) {
    GradSink sink(y);
    sink.memory().copy_from(dy);
    sink.deliver();
  }));
  std::vector<Tensor> results = {y.data(), x.grad(), residual.grad()};
  for (const Variable& parameter : norm.parameters()) {
    results.push_back(parameter.grad());
  }
  const auto state = norm.state();  // the last one counts the batches
  for (std::size_t i = 2; i + 1 < state.size(); ++i) {
    results.push_back(state[i].second);
  }
  return results;
}

}  // namespace

TEST_CASE("batch norm over the ranks is on a GPU what it is on the CPU") {
  const auto counts = GENERATE(
      values<std::vector<std::size_t>>({{3}, {3, 2}, {1, 0, 4}, {1, 1}}));
  spawn_ranks(static_cast<int>(counts.size()), [&](Communicator& host) {
    const auto gpu = make_gpu_communicator(host);
    const std::size_t own = counts[static_cast<std::size_t>(host.rank())];
    const auto expected = batch_norm_step(Device::kCpu, host, own);
    const auto got = batch_norm_step(Device::kCuda, *gpu, own);
    RINGLET_CHECK(got.size() == 7 && expected.size() == 7, "{} results",
                  got.size());
    for (std::size_t i = 0; i < got.size(); ++i) {
      // No picture has no gradient.
      const bool zero = own == 0 && i != 0 && i < 5;
      const std::vector<float> zeros(got[i].count());
      RINGLET_CHECK(zero ? got[i].to_vector() == zeros
                         : distance(got[i], expected[i]) < 1e-5,
                    "result {} is not that of the CPU", i);
    }
  });
}

TEST_CASE("one value per channel on all GPUs together is refused by all") {
  std::atomic<int> refused = 0;
  spawn_ranks(2, [&](Communicator& host) {
    const auto gpu = make_gpu_communicator(host);
    BatchNorm2d norm(1);
    norm.initialize(1);
    norm.to(Device::kCuda);
    SynchronisedBatchNorm synchronised(norm, *gpu);
    synchronised.count_pictures(host.rank() == 0);
    const Tensor x = Tensor::zeros({1, 1, 1, 1}, Dtype::kF32,
                                   Layout::kChannelsLast, Device::kCuda);
    try {
      norm.forward(Variable(x));
    } catch (const Error& error) {
      refused += std::string(error.what())
                     .starts_with("batch norm of one value per channel");
    }
  });
  CHECK(refused == 2);
}

TEST_CASE("a tensor goes to the GPU and comes back in any layout") {
  const Tensor host = random_tensor({2, 5, 3, 4}, 1);
  const Tensor there = host.to(Device::kCuda);
  CHECK(there.device() == Device::kCuda);
  CHECK((there.to_vector() == host.to_vector()));
  const Tensor turned = there.to_layout(Layout::kChannelsLast);
  CHECK((turned.to_vector() == host.to_vector()));
  CHECK((turned.clone().to_host().to_vector() == host.to_vector()));
  // [n][h][w][c]: the second channel's first pixel is the second element.
  const std::vector<float> raw =
      Tensor({2, 3, 4, 5}, Dtype::kF32, Layout::kPlain, turned.buffer(), 0)
          .to_vector();
  CHECK(raw[1] == host.to_vector()[12]);

  const Tensor back({2, 5, 3, 4});
  back.copy_from(turned);
  CHECK((back.to_vector() == host.to_vector()));
  const Tensor into = Tensor::zeros({2, 5, 3, 4}, Dtype::kF32,
                                    Layout::kChannelsLast, Device::kCuda);
  into.copy_from(host);
  CHECK((into.to_vector() == host.to_vector()));
  CHECK(Tensor::of({}, {3}).to(Device::kCuda).item() == 3);
  CHECK_THROWS_AS(there.copy_from(random_tensor({2, 5, 4, 3}, 1)), Error);
}

TEST_CASE("memory on the GPU is used again by the thread that gave it back") {
  void* first = nullptr;
  {
    const Tensor tensor({1000}, Dtype::kF32, Layout::kPlain, Device::kCuda);
    first = tensor.raw();
    CHECK(reinterpret_cast<std::uintptr_t>(first) % 256 == 0);
  }
  const Tensor again({1000}, Dtype::kF32, Layout::kPlain, Device::kCuda);
  CHECK(again.raw() == first);
  const Tensor large({3 << 20}, Dtype::kF32, Layout::kPlain, Device::kCuda);
  CHECK(large.raw() != first);
}

TEST_CASE("a GPU that has no more memory says how much it has") {
  CHECK_THROWS_WITH(Buffer::allocate(std::size_t{1} << 50, Device::kCuda),
                    ContainsSubstring("out of memory on the GPU: 1073741856 "
                                      "MiB more are needed, and "));
}

TEST_CASE("an arena on the GPU keeps its parameters apart by zeros") {
  const Variable first(random_tensor({3}, 1).to(Device::kCuda), true);
  const Variable second(random_tensor({65}, 2).to(Device::kCuda), true);
  const std::vector<float> values = first.data().to_vector();
  const ParameterArena arena({first, second}, {.dtype = Dtype::kBF16});
  CHECK(arena.slots()[1].begin == 128);
  CHECK(arena.count() == 192);
  CHECK(arena.parameter_count() == 68);
  const std::vector<float> flat = arena.flat_values().to_vector();
  CHECK((std::vector<float>(flat.begin() + 128, flat.begin() + 131) == values));
  CHECK((std::vector<float>(flat.begin() + 131, flat.end()) ==
         std::vector<float>(61, 0)));
  const Tensor half = first.data_as(Dtype::kBF16);
  CHECK(distance(half.to_layout(Layout::kPlain, Dtype::kF32), first.data()) <
        0x1p-8);
  CHECK_THROWS_AS(first.data_as(Dtype::kF16), Error);
}

TEST_CASE("a loader on the GPU gives the batches of the one on the CPU") {
  const double mixup = GENERATE(0.0, 0.5);
  const ImageSet images = make_synthetic(10, 101).test;
  const DistributedSampler sampler({.count = images.count(),
                                    .global_batch = images.count() / 2 - 3,
                                    .seed = 5,
                                    .rank = 1,
                                    .world_size = 3});
  const auto check = [&](BatchSource& host, BatchSource& gpu) {
    std::size_t batches = 0;
    while (const std::optional<Batch> expected = host.next()) {
      const std::optional<Batch> got = gpu.next();
      REQUIRE(got);
      CHECK(distance(got->images, expected->images) < 1e-6);
      const Tensor labels = got->labels.to_host();
      CHECK(std::equal(labels.data<std::int32_t>(),
                       labels.data<std::int32_t>() + labels.count(),
                       expected->labels.data<std::int32_t>()));
      CHECK(got->labels.shape() == expected->labels.shape());
      CHECK(got->other_labels.defined() == (mixup > 0));
      if (mixup > 0) {
        CHECK(got->share.to_host().item() == expected->share.item());
        CHECK(std::equal(expected->other_labels.data<std::int32_t>(),
                         expected->other_labels.data<std::int32_t>() +
                             expected->other_labels.count(),
                         got->other_labels.to_host().data<std::int32_t>()));
      }
      CHECK(got->global_count == expected->global_count);
      CHECK(got->step == expected->step);
      ++batches;
    }
    CHECK_FALSE(gpu.next());
    return batches;
  };
  const Augmentation augment{.crop = true, .cutout = 8};
  const auto host = make_loader(
      images, sampler, {.augment = augment, .mixup = mixup, .seed = 9});
  const auto gpu = make_loader(
      images, sampler,
      {.augment = augment, .mixup = mixup, .seed = 9, .device = Device::kCuda});
  host->start(4);
  gpu->start(4);
  CHECK(check(*host, *gpu) == 3);
  host->start(5, 2);
  gpu->start(5, 2);
  CHECK(check(*host, *gpu) == 1);
}

#ifdef RINGLET_CUDACPU
TEST_CASE("NCCL sums what was rounded for the wire") {
  const int ranks = GENERATE(1, 2);
  constexpr float kTie = 1 + 0x1p-8f;  // rounds to 1
  const std::vector<float> values(3, kTie);
  spawn_ranks(ranks, [&](Communicator& host) {
    const auto nccl = make_nccl_communicator(host);
    const Buffer data = nccl->allocate(values.size() * sizeof(float));
    const auto result = [&](ReduceOp op) {
      const Tensor there(Shape{3}, Dtype::kF32, Layout::kPlain, data, 0);
      there.copy_from(Tensor::of({3}, values));
      nccl->run({.kind = CollectiveKind::kAllReduce,
                 .input = there.raw(),
                 .output = there.raw(),
                 .count = values.size(),
                 .dtype = Dtype::kF32,
                 .op = op,
                 .wire = Dtype::kBF16});
      return there.to_vector();
    };
    const float sum = ranks == 1 ? kTie : 2;
    const std::vector<float> sums = result(ReduceOp::kSum);
    RINGLET_CHECK(sums == std::vector<float>(3, sum), "a sum of {}", sums[0]);
    // A half of it is a tie too.
    const float mean = ranks == 1 ? kTie : 1;
    const std::vector<float> means = result(ReduceOp::kAvg);
    RINGLET_CHECK(means == std::vector<float>(3, mean), "an average of {}",
                  means[0]);
  });
}

TEST_CASE("ranks that have called NCCL differently are told so") {
  std::atomic<int> told = 0;
  spawn_ranks(2, [&](Communicator& host) {
    const auto nccl = make_nccl_communicator(host);
    const Buffer data = nccl->allocate(4 * sizeof(float));
    nccl->all_reduce(data.data(), 4, Dtype::kF32, ReduceOp::kSum, 1);
    nccl->agree_on_calls();
    const int tag = 2 + host.rank();
    for (std::size_t i = 2; i < kCallsToCompare; ++i) {
      nccl->all_reduce(data.data(), 4, Dtype::kF32, ReduceOp::kSum, tag);
    }
    try {
      nccl->all_reduce(data.data(), 4, Dtype::kF32, ReduceOp::kSum, tag);
    } catch (const MismatchError& error) {
      const std::string text = error.what();
      told += text.find(
                  "rank 0 128 calls, the last all_reduce of 4 f32, sum, "
                  "bucket 2; rank 1 128 calls, the last all_reduce of 4 "
                  "f32, sum, bucket 3") != std::string::npos;
    }
  });
  CHECK(told == 2);
}
#endif
