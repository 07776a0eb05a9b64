#include "parallel/equality.h"

#include <cmath>
#include <cstring>

#include "engine/nn/layers.h"
#include "engine/optim/sgd.h"
#include "engine/parallel/data_parallel.h"
#include "kernels/backend.h"
#include "kernels/runtime/check.h"
#include "kernels/runtime/philox.h"
#include "models/resnet.h"
#include "support/reference.h"

namespace ringlet::testing {
namespace {

constexpr std::size_t kChannels = 8, kSize = 4, kClasses = 5;

// Convolution, ReLU, max-pool, convolution with bias, mean, linear.
class SmallNet final : public Module {
 public:
  SmallNet() {
    add_module("conv1", conv1_);
    add_module("conv2", conv2_);
    add_module("fc", fc_);
  }

  Variable forward(const Variable& x) override {
    const Variable y = max_pool2d(relu(conv1_.forward(x)), {2, 2, 0});
    return fc_.forward(global_average_pool(conv2_.forward(y)));
  }

 private:
  Conv2d conv1_{{.in = 3, .out = kChannels, .kernel = 3, .padding = 1}};
  Conv2d conv2_{{.in = kChannels, .out = kChannels, .kernel = 1, .bias = true}};
  Linear fc_{kChannels, kClasses};
};

Array draw(std::vector<std::size_t> shape, std::uint32_t seed, bool integers) {
  Array array = random_array(std::move(shape), seed);
  if (!integers) return array;
  for (double& value : array.values) value = std::round(value * 2);
  return array;
}

// The parameters as arrays, in order of definition.
std::vector<Array> draw_parameters(bool integers) {
  // Logits that differ at all then differ by so much that exp() of it is zero
  // in single precision.
  constexpr double kFarApart = 1024;
  std::vector<Array> parameters{
      draw({kChannels, 3, 3, 3}, 11, integers),
      draw({kChannels, kChannels, 1, 1}, 12, integers),
      draw({kChannels}, 13, integers),
      draw({kClasses, kChannels}, 14, integers),
      draw({kClasses}, 15, integers)};
  if (integers) {
    for (double& value : parameters[3].values) value *= kFarApart;
    for (double& value : parameters[4].values) value *= kFarApart / 2;
  }
  return parameters;
}

Array draw_pictures(std::size_t count, bool integers) {
  return draw({count, 3, kSize, kSize}, 16, integers);
}

std::int32_t label_of(std::size_t picture) {
  return static_cast<std::int32_t>(picture * 7 % kClasses);
}

// [begin, end) of the rank's contiguous block; the first ranks take more.
std::pair<std::size_t, std::size_t> block_of_rank(std::size_t count, int rank,
                                                  int size) {
  const auto r = static_cast<std::size_t>(rank);
  const auto n = static_cast<std::size_t>(size);
  const auto begin = [&](std::size_t i) {
    return count / n * i + std::min(i, count % n);
  };
  return {begin(r), begin(r + 1)};
}

struct Share {
  Tensor images, labels;
  std::size_t count;
};

Share share_of(const Array& pictures, const Communicator& communicator,
               std::size_t global_batch) {
  const auto [begin, end] =
      block_of_rank(global_batch, communicator.rank(), communicator.size());
  const std::size_t count = end - begin;
  const std::size_t stride = pictures.count() / pictures.shape[0];
  Array mine({count, pictures.shape[1], pictures.shape[2], pictures.shape[3]});
  std::copy_n(
      pictures.values.begin() + static_cast<std::ptrdiff_t>(begin * stride),
      count * stride, mine.values.begin());
  Tensor labels({static_cast<std::int64_t>(count)}, Dtype::kI32);
  for (std::size_t i = 0; i < count; ++i) {
    labels.data<std::int32_t>()[i] = label_of(begin + i);
  }
  return {to_tensor(mine), labels, count};
}

// Forward and backward of this rank's share; gradients are summed afterwards.
void run_step(Module& model, DataParallel& parallel, const Share& share,
              std::size_t global_batch) {
  parallel.start_step();
  if (share.count > 0) {
    const Variable logits = model.forward(Variable(share.images));
    backward(cross_entropy(logits, share.labels, {.global_batch = global_batch})
                 .loss);
  } else {
    parallel.backward_nothing();
  }
  parallel.finalize();
}

void check_equals_rank_0(Communicator& communicator, const char* what,
                         const void* data, std::size_t bytes) {
  std::vector<std::byte> first(bytes);
  std::memcpy(first.data(), data, bytes);
  communicator.broadcast(first.data(), bytes, 0);
  RINGLET_CHECK(std::memcmp(first.data(), data, bytes) == 0,
                "rank {} of {}: {} differ from rank 0's", communicator.rank(),
                communicator.size(), what);
}

}  // namespace

std::vector<float> shared_gradient(Communicator& communicator,
                                   std::size_t global_batch, bool integers) {
  SmallNet model;
  const std::vector<Array> values = draw_parameters(integers);
  const std::vector<Variable> parameters = model.parameters();
  for (std::size_t i = 0; i < values.size(); ++i) {
    parameters[i].data().copy_from(to_tensor(values[i]));
  }
  // Buckets of a few parameters each, so that several are in flight.
  constexpr std::size_t kBucketBytes = 64;
  DataParallel parallel(model, communicator, {kBucketBytes, kBucketBytes});
  RINGLET_CHECK(parallel.buckets().size() > 2, "too few buckets for the test");
  run_step(model, parallel,
           share_of(draw_pictures(global_batch, integers), communicator,
                    global_batch),
           global_batch);
  std::vector<float> gradient;
  // The arena holds them in reverse.
  for (auto slot = parallel.arena().slots().rbegin();
       slot != parallel.arena().slots().rend(); ++slot) {
    const float* begin = parallel.arena().gradients() + slot->begin;
    gradient.insert(gradient.end(), begin, begin + slot->count);
  }
  return gradient;
}

std::vector<double> reference_gradient(std::size_t global_batch) {
  constexpr double kStep = 1e-6;
  std::vector<Array> p = draw_parameters(false);
  const Array pictures = draw_pictures(global_batch, false);
  std::vector<std::int32_t> labels;
  for (std::size_t i = 0; i < global_batch; ++i) labels.push_back(label_of(i));
  const auto loss = [&] {
    Array y = reference_relu(reference_conv2d(pictures, p[0], nullptr, 1, 1));
    y = reference_conv2d(reference_max_pool(y, 2, 2, 0), p[1], &p[2], 1, 0);
    y = reference_linear(reference_average_pool(y), p[3], p[4]);
    return reference_cross_entropy(y, labels, 0,
                                   static_cast<double>(global_batch));
  };
  std::vector<double> gradient;
  for (Array& array : p) {
    for (double& value : array.values) {
      const double before = value;
      value = before + kStep;
      const double above = loss();
      value = before - kStep;
      gradient.push_back((above - loss()) / (2 * kStep));
      value = before;
    }
  }
  return gradient;
}

double distance(const std::vector<float>& a, const std::vector<double>& b) {
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    const double d = static_cast<double>(a.at(i)) - b[i];
    difference += d * d;
    size += b[i] * b[i];
  }
  return std::sqrt(difference / size);
}

void check_replicas_stay_identical(Communicator& communicator) {
  const auto model = make_resnet("resnet20", {.classes = kClasses});
  // Each rank starts elsewhere; rank 0's weights must win.
  model->initialize(static_cast<std::uint64_t>(communicator.rank()));
  DataParallel parallel(*model, communicator);
  SGD sgd(parallel.arena(), {.weight_decay = 1e-3f});
  constexpr std::size_t kPictureSize = 8;
  for (const std::size_t global_batch : {11, 8, 1}) {
    const Array pictures =
        random_array({global_batch, 3, kPictureSize, kPictureSize}, 17);
    run_step(*model, parallel, share_of(pictures, communicator, global_batch),
             global_batch);
    sgd.step(0.1f);
    const std::size_t bytes = parallel.arena().count() * sizeof(float);
    check_equals_rank_0(communicator, "parameters", parallel.arena().values(),
                        bytes);
    check_equals_rank_0(communicator, "momentum", sgd.momentum().raw(), bytes);
  }
  parallel.broadcast_buffers();
  for (const auto& [name, buffer] : model->state()) {
    check_equals_rank_0(communicator, name.c_str(), buffer.raw(),
                        buffer.bytes());
  }
}

}  // namespace ringlet::testing
