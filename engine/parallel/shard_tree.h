#pragma once

#include <cstddef>
#include <vector>

#include "engine/tensor/tensor.h"

namespace ringlet {

// Adds f32 arrays that are computed one after the other, in the same memory,
// along a balanced binary tree: for four shards (0+1) + (2+3). That order does
// not depend on how many ranks the shards lie on, since `ordered` and `shared`
// go on with the same tree over the ranks.
//
//   shard   0        1          2        3
//   keeps   0     -> 0+1     -> 0+1   -> the sum
//                               2
//
// Keeps as many partial sums as the number of shards has binary digits less
// one; each shard is copied or added as often as its number ends in ones.
class ShardTree {
 public:
  // `shards`: a power of two. Of arrays of `count` elements on `device`.
  ShardTree(std::size_t shards, std::size_t count, Device device);

  // Elements [begin, begin + count) of `data`, which is the whole array, are
  // those of shard number `shard`; the shards come in their order, each element
  // of each once. After the last one they are the sum; before, something else
  // may be written there.
  void add(std::size_t shard, float* data, std::size_t begin,
           std::size_t count) const;

 private:
  std::vector<Tensor> partial_;  // of 1, 2, 4, ... shards
};

}  // namespace ringlet
