#include <atomic>

#include "collectives/gpu/nccl_communicator.h"
#include "engine/data/device_loader.h"
#include "engine/data/synthetic.h"
#include "engine/optim/sgd.h"
#include "engine/parallel/data_parallel.h"
#include "engine/train/trainer.h"
#include "kernels/backend.h"
#include "kernels/runtime/threads.h"
#include "models/resnet.h"
#include "support/catch.h"
#include "support/reference.h"
#include "support/spawn_ranks.h"

#ifdef RINGLET_CUDACPU
#include "support/cudacpu/streams.h"
#endif

// The engine on a GPU, or on the emulator: against itself on the CPU.
using namespace ringlet;
using namespace ringlet::testing;

namespace {

struct NamedArray {
  std::string name;
  Array array;
};

double distance(const Tensor& got, const Tensor& expected) {
  return relative_distance(to_array(got), to_array(expected));
}

Tensor random_tensor(std::vector<std::size_t> shape, std::uint32_t seed) {
  return to_tensor(random_array(std::move(shape), seed));
}

// Pictures of 8x8 pixels: every fourth of those of 32x32.
ImageSet shrunk(ImageSet images) {
  constexpr std::size_t kStep = 4;
  std::vector<std::uint8_t> pixels;
  for (std::size_t i = 0; i < images.pixels.size(); i += kStep) {
    const std::size_t row = i / images.width;
    if (row % kStep == 0) pixels.push_back(images.pixels[i]);
  }
  images.pixels = std::move(pixels);
  images.height /= kStep;
  images.width /= kStep;
  return images;
}

Dataset small_data() {
  const Dataset all = make_synthetic(40, 22);
  return {shrunk(all.train), shrunk(all.test)};
}

TrainOptions small_options() {
  TrainOptions options;
  options.model = "resnet20";
  options.batch_size = 16;
  options.steps = 3;  // an epoch of 40 pictures; the last batch has 8
  options.lr = 0.02;
  return options;
}

struct Run {
  std::vector<StepResult> steps;
  double accuracy = -1;
  std::vector<NamedArray> state;
};

// Trains on threads as ranks; what rank 0 was told, and has in the end.
Run train(const ComputeOptions& compute, int ranks,
          TrainOptions options = small_options()) {
  const Dataset data = small_data();
  Run run;
  spawn_ranks(ranks, [&](Communicator& communicator) {
    set_kernel_threads(1);
    const auto model = make_resnet(options.model, {});
    model->initialize(options.seed);
    model->to(compute.device);
    const TrainPlan plan =
        make_plan(options, data.train.count(), static_cast<std::size_t>(ranks));
    Trainer trainer(options, plan, *model, data, communicator, compute);
    TrainObserver observer;
    if (communicator.rank() == 0) {
      observer.step = [&](const StepResult& r) { run.steps.push_back(r); };
      observer.epoch = [&](const EpochResult& r) {
        if (r.validation) run.accuracy = r.validation->accuracy;
      };
    }
    trainer.run(observer);
    if (communicator.rank() > 0) return;
    for (const auto& [name, tensor] : model->state()) {
      if (tensor.dtype() != Dtype::kF32) continue;
      run.state.push_back({name, to_array(tensor)});
    }
  });
  return run;
}

// The largest difference of a step's loss, in its own size.
double loss_distance(const Run& got, const Run& expected) {
  double largest = 0;
  for (std::size_t i = 0; i < expected.steps.size(); ++i) {
    const double loss = expected.steps[i].loss;
    largest = std::max(largest, std::abs(got.steps.at(i).loss - loss) / loss);
  }
  return largest;
}

double state_distance(const Run& got, const Run& expected) {
  double largest = 0;
  for (std::size_t i = 0; i < expected.state.size(); ++i) {
    INFO(expected.state[i].name);
    CHECK(got.state.at(i).name == expected.state[i].name);
    largest = std::max(largest, relative_distance(got.state[i].array,
                                                  expected.state[i].array));
  }
  return largest;
}

}  // namespace

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
      CHECK(got->global_count == expected->global_count);
      CHECK(got->step == expected->step);
      ++batches;
    }
    CHECK_FALSE(gpu.next());
    return batches;
  };
  const auto host = make_loader(images, sampler, {.augment = true, .seed = 9});
  const auto gpu = make_loader(
      images, sampler, {.augment = true, .seed = 9, .device = Device::kCuda});
  host->start(4);
  gpu->start(4);
  CHECK(check(*host, *gpu) == 3);
  host->start(5, 2);
  gpu->start(5, 2);
  CHECK(check(*host, *gpu) == 1);
}

// But for a ReLU whose input is so near to zero that rounding decides: it
// changes gradients by some per cent, and happens in one of ten steps.
TEST_CASE("training on the GPU is what it is on the CPU", "[long]") {
  const int ranks = GENERATE(1, 2);
  const ComputeOptions gpu{.device = Device::kCuda};
  set_conv_algorithm(ConvAlgorithm::kDirect);
  int equal = 0;
  for (const std::uint64_t seed : {3, 4, 5, 6}) {
    TrainOptions options = small_options();
    options.seed = seed;
    const Run expected = train({}, ranks, options);
    const Run got = train(gpu, ranks, options);
    REQUIRE(got.steps.size() == expected.steps.size());
    CHECK(loss_distance(got, expected) < 0.02);
    CHECK(got.accuracy == Approx(expected.accuracy).margin(0.1));
    equal += loss_distance(got, expected) < 1e-5 &&
             state_distance(got, expected) < 1e-4;
  }
  set_conv_algorithm(ConvAlgorithm::kAutomatic);
  CHECK(equal >= 2);
}

#ifdef RINGLET_CUDACPU
TEST_CASE("NCCL and our ring give the same sums") {
  TrainOptions options = small_options();
  options.steps = 2;  // the second one is recorded with NCCL
  const Run ring = train({.device = Device::kCuda}, 2, options);
  const Run nccl = train({.device = Device::kCuda, .nccl = true}, 2, options);
  CHECK(nccl.steps.at(1).time.seconds(StepPhase::kDevice) > 0);
  for (std::size_t i = 0; i < ring.state.size(); ++i) {
    INFO(ring.state[i].name);
    CHECK((nccl.state[i].array.values == ring.state[i].array.values));
  }
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

TEST_CASE("training in half precision is near to that in f32", "[long]") {
  const Dtype dtype = GENERATE(Dtype::kBF16, Dtype::kF16);
  INFO(name_of(dtype));
  const Run expected = train({}, 1);
  const Run got = train({.device = Device::kCuda, .dtype = dtype}, 1);
  CHECK(loss_distance(got, expected) < 0.05);
  CHECK(loss_distance(got, expected) > 1e-6);
}

TEST_CASE("a step on the GPU that is not finite is skipped", "[long]") {
  TrainOptions options = small_options();
  options.lr = 1e30;
  options.schedule = "constant";
  const Run run =
      train({.device = Device::kCuda, .dtype = Dtype::kF16}, 1, options);
  REQUIRE(run.steps.size() == 3);
  CHECK_FALSE(run.steps[0].skipped);
  CHECK(run.steps[1].skipped);
  CHECK(run.steps[2].skipped_so_far == 2);
}

#ifdef RINGLET_CUDACPU
constexpr int kNcclRanks = 2;
#else
constexpr int kNcclRanks = 1;  // each would want a GPU of its own
#endif

// In the host's steps or as a graph: the same kernels.
TEST_CASE("steps that are recorded have the bits of those that are not",
          "[long]") {
  // The rate of 1e30 leaves nothing finite.
  const auto [dtype, lr, ranks, nccl] = GENERATE(
      table<Dtype, double, int, bool>({{Dtype::kF32, 0.02, 1, false},
                                       {Dtype::kF32, 0.02, 2, false},
                                       {Dtype::kBF16, 0.02, kNcclRanks, true},
                                       {Dtype::kF16, 1e30, 2, false},
                                       {Dtype::kF16, 1e30, kNcclRanks, true}}));
  INFO(name_of(dtype) << " " << lr << ", " << ranks << " ranks");
  TrainOptions options = small_options();
  options.steps = 8;
  options.lr = lr;
  options.schedule = "multistep";
  options.milestones = {1};
  options.label_smoothing = 0.1;
  options.checkpoint_steps = 5;
  ComputeOptions compute{.device = Device::kCuda, .dtype = dtype, .nccl = nccl};
  const Run recorded = train(compute, ranks, options);
  compute.graph = false;
  const Run single = train(compute, ranks, options);
  REQUIRE(recorded.steps.size() == 8);
  int by_itself = 0;
  for (std::size_t i = 0; i < 8; ++i) {
    const StepResult &got = recorded.steps[i], &expected = single.steps[i];
    INFO("step " << expected.step);
    CHECK(got.step == expected.step);
    CHECK(got.epoch == expected.epoch);
    CHECK((got.loss == expected.loss || std::isnan(expected.loss)));
    CHECK(got.lr == expected.lr);
    CHECK(got.images == expected.images);
    CHECK(got.correct == expected.correct);
    CHECK(got.skipped == expected.skipped);
    CHECK(got.skipped_so_far == expected.skipped_so_far);
    by_itself += got.time.seconds(StepPhase::kDevice) > 0;
    CHECK(expected.time.seconds(StepPhase::kDevice) == 0);
  }
  // Not the first one, the short ones, or those after one that was skipped.
  CHECK(by_itself == (lr < 1 ? 5 : 1));
  for (std::size_t i = 0; i < single.state.size(); ++i) {
    INFO(single.state[i].name);
    CHECK((recorded.state[i].array.values == single.state[i].array.values));
  }
}

// Not under AddressSanitizer, for which an array is gone when it is given back,
// and not when the kernels that use it are done.
#if defined(RINGLET_CUDACPU) && !defined(__SANITIZE_ADDRESS__)
TEST_CASE("training waits for all that it needs of the GPU", "[long]") {
  TrainOptions options = small_options();
  const bool nccl = GENERATE(false, true);
  const ComputeOptions compute{.device = Device::kCuda, .nccl = nccl};
  const Run early = train(compute, 2, options);
  cudacpu::set_late(true);
  const Run late = train(compute, 2, options);
  cudacpu::set_late(false);
  REQUIRE(late.steps.size() == early.steps.size());
  for (std::size_t i = 0; i < early.steps.size(); ++i) {
    CHECK(late.steps[i].loss == early.steps[i].loss);
  }
  CHECK(late.accuracy == early.accuracy);
  for (std::size_t i = 0; i < early.state.size(); ++i) {
    INFO(early.state[i].name);
    CHECK((late.state[i].array.values == early.state[i].array.values));
  }
}
#endif
