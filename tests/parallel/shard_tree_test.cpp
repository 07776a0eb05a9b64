#include "engine/parallel/shard_tree.h"

#include <random>

#include "engine/parallel/step_buffers.h"
#include "kernels/reduce.h"
#include "kernels/runtime/check.h"
#include "models/resnet.h"
#include "support/catch.h"
#include "support/spawn_ranks.h"

using namespace ringlet;
using namespace ringlet::testing;

TEST_CASE("shards are added along the tree that ranks go on with") {
  constexpr std::size_t kCount = 37;
  const std::size_t shards = GENERATE(1, 2, 4, 8, 32);
  std::mt19937 random(static_cast<unsigned>(shards));
  std::normal_distribution<float> normal;
  std::vector<std::vector<float>> values(shards, std::vector<float>(kCount));
  std::vector<const void*> operands;
  for (std::vector<float>& shard : values) {
    for (float& value : shard) value = normal(random);
    operands.push_back(shard.data());
  }
  std::vector<float> expected(kCount);
  reduce_tree(expected.data(), operands.data(), shards, kCount, Dtype::kF32,
              ReduceOp::kSum);

  const ShardTree tree(shards, kCount, Device::kCpu);
  std::vector<float> data(kCount);
  for (std::size_t shard = 0; shard < shards; ++shard) {
    data = values[shard];
    // In pieces, as parameters become ready.
    tree.add(shard, data.data(), 20, kCount - 20);
    tree.add(shard, data.data(), 0, 20);
  }
  CHECK((data == expected));
}

TEST_CASE("a tree over other numbers of shards is refused") {
  const std::size_t shards = GENERATE(0, 3, 12);
  CHECK_THROWS_AS(ShardTree(shards, 1, Device::kCpu), Error);
}

namespace {

// One float buffer and one counter.
struct Statistics {
  Tensor all = Tensor::zeros({16}, Dtype::kU8);
  Tensor floats{{2}, Dtype::kF32, Layout::kPlain, all.buffer(), 0};
  Tensor counter{{1}, Dtype::kI64, Layout::kPlain, all.buffer(), 8};

  // What a forward does to them.
  void update(float value) const {
    for (int i = 0; i < 2; ++i) floats.data()[i] += value;
    ++*counter.data<std::int64_t>();
  }
};

// The first float and the counter on rank 0 after a step on two ranks of two
// shards each, which add 1, 2, 3 and 4 to 10.
std::pair<float, std::int64_t> after_step(const StepBuffersOptions& options) {
  std::pair<float, std::int64_t> result;
  spawn_ranks(2, [&](Communicator& communicator) {
    const Statistics statistics;
    statistics.floats.copy_from(Tensor::of({2}, {10, 10}));
    const StepBuffers buffers({statistics.all, statistics.floats}, communicator,
                              options);
    buffers.start_step();
    for (std::size_t shard = 0; shard < 2; ++shard) {
      buffers.start_shard(shard);
      statistics.update(static_cast<float>(2 * communicator.rank()) +
                        static_cast<float>(shard) + 1);
      buffers.end_shard(shard);
    }
    buffers.finalize();
    if (communicator.rank() > 0) return;
    result = {statistics.floats.data()[1],
              *statistics.counter.data<std::int64_t>()};
    buffers.undo();
    RINGLET_CHECK(statistics.floats.data()[1] == 10, "not undone");
    RINGLET_CHECK(*statistics.counter.data<std::int64_t>() == 0, "not undone");
  });
  return result;
}

}  // namespace

TEST_CASE("running statistics are those of the first shard, or the mean") {
  using Result = std::pair<float, std::int64_t>;
  CHECK((after_step({false, 1}) == Result{13, 2}));
  CHECK((after_step({true, 1}) == Result{15, 2}));
  CHECK((after_step({false, 2}) == Result{11, 1}));
  CHECK((after_step({true, 2}) == Result{12.5, 1}));
}
