#include "engine/parallel/synchronised_batch_norm.h"

#include <fmt/format.h>

#include <atomic>
#include <cmath>
#include <random>

#include "engine/nn/layers.h"
#include "kernels/backend.h"
#include "kernels/runtime/check.h"
#include "kernels/runtime/threads.h"
#include "support/catch.h"
#include "support/spawn_ranks.h"

using namespace ringlet;
using namespace ringlet::testing;

namespace {

constexpr std::int64_t kChannels = 19, kSize = 3;
constexpr std::size_t kPicture = kChannels * kSize * kSize;

// Pictures whose mean and deviation differ much from each other's.
Tensor pictures(std::int64_t count, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values;
  for (std::int64_t i = 0; i < count; ++i) {
    const float mean = 10 * normal(random), size = 1 + normal(random);
    for (std::size_t j = 0; j < kPicture; ++j) {
      values.push_back(mean + size * normal(random));
    }
  }
  return Tensor::of({count, kChannels, kSize, kSize}, values);
}

// What a training step leaves of a batch norm with ReLU and residual.
struct Result {
  std::vector<float> y, dx, dgamma, dbeta, running_mean, running_var;
  std::int64_t batches = 0;
};

// x and dy, [n, c, 3, 3] plain.
Result step(BatchNorm2d& norm, const Tensor& x, const Tensor& dy) {
  const Layout layout = backend(Device::kCpu).activation_layout;
  const Variable input(x.to_layout(layout), true);
  const Variable residual(x.to_layout(layout), true);
  const Variable y = norm.forward_relu(input, residual);
  backward(make_result("end", Tensor::of({}, {0}), {y}, [&](const Tensor&) {
    GradSink sink(y);
    sink.memory().copy_from(dy);
    sink.deliver();
  }));
  Result result{y.data().to_vector(), input.grad().to_vector(), {}, {}, {}, {}};
  const std::vector<Variable> parameters = norm.parameters();
  result.dgamma = parameters[0].grad().to_vector();
  result.dbeta = parameters[1].grad().to_vector();
  const auto state = norm.state();  // gamma and beta first
  result.running_mean = state[2].second.to_vector();
  result.running_var = state[3].second.to_vector();
  result.batches = *state[4].second.data<std::int64_t>();
  return result;
}

double distance(const std::vector<float>& got,
                const std::vector<float>& expected) {
  RINGLET_CHECK(got.size() == expected.size(), "{} values for {}", got.size(),
                expected.size());
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const auto wanted = static_cast<double>(expected[i]);
    difference += std::pow(static_cast<double>(got[i]) - wanted, 2);
    size += wanted * wanted;
  }
  return std::sqrt(difference / size);
}

void append(std::vector<float>& all, const std::vector<float>& more) {
  all.insert(all.end(), more.begin(), more.end());
}

void add(std::vector<float>& sum, const std::vector<float>& more) {
  sum.resize(more.size());
  for (std::size_t i = 0; i < more.size(); ++i) sum[i] += more[i];
}

}  // namespace

TEST_CASE("batch norm over the ranks is that of all their pictures") {
  // Of each rank; a rank may have one picture, or none.
  const auto counts = GENERATE(values<std::vector<std::int64_t>>(
      {{7}, {4, 3}, {1, 5, 1}, {3, 0, 2, 2}}));
  INFO(fmt::format("{} ranks", counts.size()));
  constexpr std::int64_t kAll = 7;
  const Tensor x = pictures(kAll, 1), dy = pictures(kAll, 2);
  BatchNorm2d alone(kChannels);
  alone.initialize(1);
  const Result expected = step(alone, x, dy);

  std::vector<Result> results(counts.size());
  spawn_ranks(static_cast<int>(counts.size()), [&](Communicator& ranks) {
    set_kernel_threads(1);
    const auto rank = static_cast<std::size_t>(ranks.rank());
    std::int64_t begin = 0;
    for (std::size_t i = 0; i < rank; ++i) begin += counts[i];
    BatchNorm2d norm(kChannels);
    norm.initialize(1);
    SynchronisedBatchNorm synchronised(norm, ranks);
    if (counts[rank] > 0) {
      results[rank] =
          step(norm, x.rows(begin, counts[rank]), dy.rows(begin, counts[rank]));
      return;
    }
    synchronised.count_pictures(false);
    const Tensor nothing = Tensor::zeros({1, kChannels, kSize, kSize});
    Result& result = results[rank] = step(norm, nothing, nothing);
    for (const float value : result.dx) {
      RINGLET_CHECK(value == 0, "a gradient of {} from no picture", value);
    }
    result.y.clear();
    result.dx.clear();
  });

  Result joined;
  for (const Result& result : results) {
    append(joined.y, result.y);
    append(joined.dx, result.dx);
    add(joined.dgamma, result.dgamma);
    add(joined.dbeta, result.dbeta);
    CHECK(result.batches == expected.batches);
    CHECK(distance(result.running_mean, expected.running_mean) < 1e-6);
    CHECK(distance(result.running_var, expected.running_var) < 1e-6);
    CHECK((result.running_mean == results[0].running_mean));
    CHECK((result.running_var == results[0].running_var));
  }
  CHECK(distance(joined.y, expected.y) < 1e-6);
  CHECK(distance(joined.dx, expected.dx) < 1e-5);
  CHECK(distance(joined.dgamma, expected.dgamma) < 1e-5);
  CHECK(distance(joined.dbeta, expected.dbeta) < 1e-5);
}

TEST_CASE("one value per channel on all ranks together is refused by all") {
  std::atomic<int> refused = 0;
  spawn_ranks(2, [&](Communicator& ranks) {
    set_kernel_threads(1);
    BatchNorm2d norm(1);
    norm.initialize(1);
    SynchronisedBatchNorm synchronised(norm, ranks);
    synchronised.count_pictures(ranks.rank() == 0);
    try {
      norm.forward(Variable(Tensor::zeros({1, 1, 1, 1})));
    } catch (const Error&) {
      ++refused;
    }
  });
  CHECK(refused == 2);
}

TEST_CASE("in evaluation, and afterwards, a rank's batch norm is its own") {
  spawn_ranks(2, [&](Communicator& ranks) {
    set_kernel_threads(1);
    BatchNorm2d norm(kChannels);
    norm.initialize(1);
    // One rank alone: with a word to the other it would wait for ever.
    if (ranks.rank() > 0) return ranks.barrier();
    const Variable x(
        pictures(2, 1).to_layout(backend(Device::kCpu).activation_layout));
    {
      const SynchronisedBatchNorm synchronised(norm, ranks);
      norm.eval();
      norm.forward(x);
    }
    norm.train();
    norm.forward(x);
    ranks.barrier();
  });
}
