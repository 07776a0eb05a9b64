#include "engine/parallel/shard_tree.h"

#include <bit>

#include "kernels/backend.h"
#include "kernels/runtime/check.h"

namespace ringlet {

ShardTree::ShardTree(std::size_t shards, std::size_t count, Device device) {
  RINGLET_CHECK(std::has_single_bit(shards), "a tree over {} shards", shards);
  for (; shards > 1; shards /= 2) {
    partial_.push_back(Tensor({static_cast<std::int64_t>(count)}, Dtype::kF32,
                              Layout::kPlain, device));
  }
}

// The shard's number, counted up in binary: a digit that is one has a partial
// sum to be joined, and carries.
void ShardTree::add(std::size_t shard, float* data, std::size_t begin,
                    std::size_t count) const {
  float* elements = data + begin;
  std::size_t level = 0;
  for (; shard >> level & 1; ++level) {
    const Tensor& earlier = partial_[level];
    backend(earlier.device())
        .elementwise.add(count, Dtype::kF32, earlier.data() + begin, elements,
                         elements);
  }
  if (level == partial_.size()) return;
  const Tensor& partial = partial_[level];
  copy_memory(partial.data() + begin, partial.device(), elements,
              partial.device(), count * sizeof(float));
}

}  // namespace ringlet
