#include "engine/parallel/data_parallel.h"

#include <mutex>

#include "engine/autograd/ops.h"
#include "engine/parallel/agreement.h"
#include "kernels/backend.h"
#include "kernels/runtime/check.h"
#include "kernels/runtime/threads.h"
#include "models/resnet.h"
#include "parallel/equality.h"
#include "support/catch.h"
#include "support/reference.h"
#include "support/spawn_ranks.h"

using namespace ringlet;
using namespace ringlet::testing;

namespace {

// Runs `work` on `size` ranks and gives what each returned.
template <typename Result, typename Work>
std::vector<Result> on_ranks(int size, Work work) {
  std::vector<Result> results(static_cast<std::size_t>(size));
  spawn_ranks(size, [&](Communicator& communicator) {
    set_kernel_threads(1);
    results[static_cast<std::size_t>(communicator.rank())] = work(communicator);
  });
  return results;
}

class DirectConvolutions {
 public:
  DirectConvolutions() { set_conv_algorithm(ConvAlgorithm::kDirect); }
  ~DirectConvolutions() { set_conv_algorithm(ConvAlgorithm::kAutomatic); }
};

}  // namespace

TEST_CASE("N ranks have the gradient of one process, bit for bit") {
  const DirectConvolutions direct;
  const std::size_t global_batch = GENERATE(1, 2, 4, 16);
  const auto gradient = [&](Communicator& communicator) {
    return shared_gradient(communicator, global_batch, true);
  };
  const std::vector<float> alone =
      on_ranks<std::vector<float>>(1, gradient).front();
  double sum = 0;
  for (const float g : alone) sum += std::abs(static_cast<double>(g));
  REQUIRE(sum > 1);
  for (const int ranks : {2, 3, 4, 8}) {
    CAPTURE(ranks, global_batch);
    for (const auto& shared : on_ranks<std::vector<float>>(ranks, gradient)) {
      CHECK(shared == alone);
    }
  }
}

TEST_CASE("N ranks are as near to the float64 gradient as one process") {
  const std::size_t global_batch = GENERATE(3, 13);
  const std::vector<double> exact = reference_gradient(global_batch);
  constexpr double kFloor = 1e-5, kFactor = 3;
  double alone = 0;
  for (const int ranks : {1, 2, 3, 4, 8}) {
    const auto gradients =
        on_ranks<std::vector<float>>(ranks, [&](Communicator& communicator) {
          return shared_gradient(communicator, global_batch, false);
        });
    const double ours = distance(gradients.front(), exact);
    if (ranks == 1) alone = ours;
    CAPTURE(ranks, global_batch, alone);
    CHECK(ours <= std::max(kFactor * alone, kFloor));
  }
}

TEST_CASE("replicas stay identical in every bit") {
  for (const int ranks : {1, 2, 3, 4, 8}) {
    spawn_ranks(ranks, [](Communicator& communicator) {
      set_kernel_threads(1);
      check_replicas_stay_identical(communicator);
    });
  }
  SUCCEED("no rank threw");
}

TEST_CASE("buckets are whole parameters in backward's order") {
  std::vector<Variable> parameters;
  for (const std::int64_t size : {100, 10, 300, 20, 30}) {
    parameters.emplace_back(Tensor::zeros({size}), true);
  }
  const ParameterArena arena(parameters);
  const auto plan = [&](std::size_t bucket, std::size_t first) {
    std::vector<std::vector<std::size_t>> sizes;
    for (const GradientBucket& b : plan_buckets(arena, {bucket, first})) {
      sizes.push_back({b.begin, b.count, b.first_slot, b.slot_count});
    }
    return sizes;
  };
  using Plan = std::vector<std::vector<std::size_t>>;
  CHECK(plan(1000, 120) ==
        Plan{{0, 30, 0, 1}, {30, 320, 1, 2}, {350, 110, 3, 2}});
  CHECK(plan(1 << 20, 1 << 20) == Plan{{0, 460, 0, 5}});
  CHECK(plan(0, 0) == Plan{{0, 30, 0, 1},
                           {30, 20, 1, 1},
                           {50, 300, 2, 1},
                           {350, 10, 3, 1},
                           {360, 100, 4, 1}});
}

TEST_CASE("buckets of any size, overlapped or not, give the same bits") {
  constexpr int kRanks = 2;
  constexpr std::size_t kShards = 2;
  const auto gradient = [](std::size_t bucket_bytes, std::size_t buckets) {
    std::vector<float> result;
    const auto body = [&](Communicator& communicator) {
      set_kernel_threads(1);
      const auto model = make_resnet("resnet20", {});
      model->initialize(5);
      DataParallel parallel(*model, communicator,
                            {.bucket_bytes = bucket_bytes,
                             .first_bucket_bytes = bucket_bytes,
                             .shards = kShards,
                             .tree = true});
      RINGLET_CHECK(parallel.buckets().size() == buckets, "{} buckets",
                    parallel.buckets().size());
      parallel.start_step();
      for (std::size_t shard = 0; shard < kShards; ++shard) {
        if (shard > 0) parallel.next_shard();
        const auto seed =
            static_cast<std::uint32_t>(communicator.rank() * kRanks) + shard;
        const Tensor pictures = to_tensor(random_array({3, 3, 8, 8}, seed));
        backward(cross_entropy(model->forward(Variable(pictures)),
                               Tensor::zeros({3}, Dtype::kI32), {})
                     .loss);
      }
      parallel.finalize();
      if (communicator.rank() > 0) return;
      const float* values = parallel.arena().gradients();
      result.assign(values, values + parallel.arena().count());
    };
    spawn_ranks(kRanks, body, {}, "ordered");
    return result;
  };
  // All in one, which is full when backward is done; and one for each.
  const std::vector<float> one = gradient(1 << 30, 1);
  CHECK(distance(one, std::vector<double>(one.size(), 1)) > 0);
  CHECK(gradient(0, 65) == one);
  CHECK(gradient(200000, 5) == one);
}

namespace {

// Two parameters whose gradients become ready in an order that depends on the
// rank.
class TwoBranches final : public Module {
 public:
  explicit TwoBranches(bool swapped) : swapped_(swapped) {
    a_ = add_parameter("a", {3});
    b_ = add_parameter("b", {3});
  }
  Variable forward(const Variable&) override {
    return swapped_ ? add(relu(b_), relu(a_)) : add(relu(a_), relu(b_));
  }
  const Variable& a() const { return a_; }
  const Variable& b() const { return b_; }

 private:
  bool swapped_;
  Variable a_, b_;
};

Variable scaled_sum(const Variable& x, float scale) {
  return make_result("scaled_sum", Tensor::of({}, {0}), {x},
                     [=](const Tensor&) {
                       GradSink dx(x);
                       std::fill_n(dx.memory().data(), 3, scale);
                       dx.deliver();
                     });
}

}  // namespace

TEST_CASE("buckets meet although gradients become ready in another order") {
  spawn_ranks(4, [](Communicator& communicator) {
    TwoBranches model(communicator.rank() % 2 == 1);
    // The ReLU stops b's gradient, so that mixed-up buckets would show.
    std::fill_n(model.a().data().data(), 3, 1.0f);
    std::fill_n(model.b().data().data(), 3, -1.0f);
    DataParallel parallel(model, communicator, {0, 0});
    RINGLET_CHECK(parallel.buckets().size() == 2, "one bucket per parameter");
    parallel.start_step();
    backward(scaled_sum(model.forward({}),
                        static_cast<float>(communicator.rank() + 1)));
    parallel.finalize();
    RINGLET_CHECK(
        model.a().grad().to_vector() == std::vector<float>(3, 10.0f) &&
            model.b().grad().to_vector() == std::vector<float>(3, 0.0f),
        "rank {}: a wrong sum", communicator.rank());
  });
  SUCCEED("no rank threw");
}

TEST_CASE("a parameter without a gradient is named") {
  const std::string message = "backward() gave no gradient to b";
  CHECK_THROWS_WITH(
      spawn_ranks(1,
                  [](Communicator& communicator) {
                    TwoBranches model(false);
                    DataParallel parallel(model, communicator, {0, 0});
                    parallel.start_step();
                    backward(scaled_sum(relu(model.a()), 1));
                    parallel.finalize();
                  }),
      ContainsSubstring(message));
}

TEST_CASE("ranks with different models or options are told apart") {
  CHECK_THROWS_WITH(
      spawn_ranks(3,
                  [](Communicator& communicator) {
                    const int rank = communicator.rank();
                    require_equal(
                        communicator, "the configuration",
                        rank == 2 ? "lr 0.1\nseed 2" : "lr 0.1\nseed 1");
                  }),
      ContainsSubstring("rank 2: the configuration is not the same on all "
                        "ranks: 'seed 2' here, 'seed 1' on rank 0"));
  CHECK_THROWS_WITH(spawn_ranks(2,
                                [](Communicator& communicator) {
                                  require_equal(
                                      communicator, "the text",
                                      communicator.rank() == 0 ? "a" : "a\n");
                                }),
                    ContainsSubstring("rank 1: the text is not the same"));
  // Equal texts pass, also where one is the beginning of the other's lines.
  spawn_ranks(3, [](Communicator& communicator) {
    require_equal(communicator, "nothing", "");
    const auto texts = gather_text(
        communicator,
        std::string(static_cast<std::size_t>(communicator.rank()), 'x'));
    RINGLET_CHECK(texts == std::vector<std::string>({"", "x", "xx"}),
                  "gather_text");
  });
}

TEST_CASE("one rank's failure is everybody's, with its message") {
  std::mutex mutex;
  std::vector<std::string> messages;
  spawn_ranks(4, [&](Communicator& communicator) {
    try {
      agree(communicator, [&] {
        if (communicator.rank() >= 2) {
          throw Error("no disk " + std::to_string(communicator.rank()));
        }
      });
    } catch (const SharedError& error) {
      const std::lock_guard lock(mutex);
      messages.push_back(error.what());
    }
  });
  CHECK(messages == std::vector<std::string>(4, "rank 2: no disk 2"));
}
