#include "kernels/reduce.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <utility>

#include "kernels/runtime/check.h"
#include "kernels/runtime/element.h"

namespace ringlet {
namespace {

// Calls body(T()) for one of the 16-bit types.
template <typename Body>
void with_half(Dtype dtype, const Body& body) {
  RINGLET_CHECK(dtype == Dtype::kF16 || dtype == Dtype::kBF16,
                "{}: expected f16 or bf16", name_of(dtype));
  return dtype == Dtype::kF16 ? body(Half()) : body(BFloat16());
}

// Calls body(combine) with a function of two values.
template <typename Wide, typename Body>
void with_op(ReduceOp op, const Body& body) {
  switch (op) {
    case ReduceOp::kSum:
    case ReduceOp::kAvg:
      return body([](Wide a, Wide b) { return static_cast<Wide>(a + b); });
    case ReduceOp::kProd:
      return body([](Wide a, Wide b) { return static_cast<Wide>(a * b); });
    case ReduceOp::kMin:
      return body([](Wide a, Wide b) { return std::min(a, b); });
    case ReduceOp::kMax:
      return body([](Wide a, Wide b) { return std::max(a, b); });
  }
}

// In a tree over `count` operands, how many go left: the largest power of two
// below it.
constexpr std::size_t left_of(std::size_t count) {
  return std::bit_floor(count - 1);
}

// The tree over Count operands at one element.
template <std::size_t Count, typename T, typename Combine>
auto tree_at(const T* const* operands, std::size_t i, Combine combine) {
  if constexpr (Count == 1) {
    return widen(operands[0][i]);
  } else {
    constexpr std::size_t kLeft = left_of(Count);
    return combine(tree_at<kLeft>(operands, i, combine),
                   tree_at<Count - kLeft>(operands + kLeft, i, combine));
  }
}

// All in registers, which is faster than a block at a time, most of all where
// the operands are in cache.
template <std::size_t Count, std::size_t Results, typename T, typename Combine>
void reduce_few(void* const* results, const void* const* operands,
                std::size_t count, Combine combine) {
  std::array<const T*, Count> from;
  std::array<T*, Results> to;
  for (std::size_t r = 0; r < Count; ++r) {
    from[r] = static_cast<const T*>(operands[r]);
  }
  for (std::size_t r = 0; r < Results; ++r) to[r] = static_cast<T*>(results[r]);
#pragma GCC ivdep
  for (std::size_t i = 0; i < count; ++i) {
    const T sum = narrow<T>(tree_at<Count>(from.data(), i, combine));
    for (std::size_t r = 0; r < Results; ++r) to[r][i] = sum;
  }
}

// Whether there was one for so many operands and results.
template <typename T, typename Combine, std::size_t... Counts>
bool reduce_few(void* const* results, std::size_t result_count,
                const void* const* operands, std::size_t operand_count,
                std::size_t count, Combine combine,
                std::index_sequence<Counts...>) {
  const auto attempt = [&]<std::size_t Count>() {
    if (operand_count != Count) return false;
    if (result_count == Count) {
      reduce_few<Count, Count, T>(results, operands, count, combine);
    } else if (result_count == 1) {
      reduce_few<Count, 1, T>(results, operands, count, combine);
    } else {
      return false;
    }
    return true;
  };
  return (attempt.template operator()<Counts>() || ...);
}

// One block of elements at a time goes through the tree, in the first-level
// cache: a level's sum is kept while its right neighbour is made.
template <typename T, typename Combine>
class Tree {
 public:
  using Wide = ringlet::Wide<T>;

  Tree(const void* const* operands, Combine combine)
      : operands_(operands), combine_(combine) {}

  // Into `target`: operands [first, first + count) of the elements from
  // `begin` on.
  void reduce(Wide* target, std::size_t first, std::size_t count,
              std::size_t begin, std::size_t length) const {
    const T* a = operand(first) + begin;
    if (count == 1) {
      for (std::size_t i = 0; i < length; ++i) target[i] = widen(a[i]);
      return;
    }
    if (count == 2) {
      const T* b = operand(first + 1) + begin;
      for (std::size_t i = 0; i < length; ++i) {
        target[i] = combine_(widen(a[i]), widen(b[i]));
      }
      return;
    }
    const std::size_t left = left_of(count);
    reduce(target, first, left, begin, length);
    std::array<Wide, kBlock> right;
    reduce(right.data(), first + left, count - left, begin, length);
    for (std::size_t i = 0; i < length; ++i) {
      target[i] = combine_(target[i], right[i]);
    }
  }

  static constexpr std::size_t kBlock = 512;

 private:
  const T* operand(std::size_t index) const {
    return static_cast<const T*>(operands_[index]);
  }

  const void* const* operands_;
  Combine combine_;
};

}  // namespace

void reduce(void* accumulator, const void* operand, std::size_t count,
            Dtype dtype, ReduceOp op) {
  with_type(dtype, [&]<typename T>(T) {
    with_op<Wide<T>>(op, [&](auto combine) {
      T* __restrict a = static_cast<T*>(accumulator);
      const T* __restrict b = static_cast<const T*>(operand);
      for (std::size_t i = 0; i < count; ++i) {
        a[i] = narrow<T>(combine(widen(a[i]), widen(b[i])));
      }
    });
  });
}

void reduce_tree(void* const* results, std::size_t result_count,
                 const void* const* operands, std::size_t operand_count,
                 std::size_t count, Dtype dtype, ReduceOp op) {
  with_type(dtype, [&]<typename T>(T) {
    with_op<Wide<T>>(op, [&](auto combine) {
      // A rank of a host has one of these for each that shares its memory.
      using Counts = std::index_sequence<2, 3, 4, 5, 6, 7, 8>;
      if (reduce_few<T>(results, result_count, operands, operand_count, count,
                        combine, Counts())) {
        return;
      }
      using Reducer = Tree<T, decltype(combine)>;
      const Reducer tree(operands, combine);
      std::array<typename Reducer::Wide, Reducer::kBlock> sums;
      for (std::size_t begin = 0; begin < count; begin += Reducer::kBlock) {
        const std::size_t length = std::min(Reducer::kBlock, count - begin);
        tree.reduce(sums.data(), 0, operand_count, begin, length);
        for (std::size_t r = 0; r < result_count; ++r) {
          T* target = static_cast<T*>(results[r]) + begin;
          for (std::size_t i = 0; i < length; ++i) {
            target[i] = narrow<T>(sums[i]);
          }
        }
      }
    });
  });
}

void narrow(void* target, Dtype dtype, const float* source, std::size_t count,
            float factor) {
  with_half(dtype, [&]<typename T>(T) {
    T* to = static_cast<T*>(target);
    for (std::size_t i = 0; i < count; ++i)
      to[i] = narrow<T>(source[i] * factor);
  });
}

void widen(float* target, const void* source, Dtype dtype, std::size_t count) {
  with_half(dtype, [&]<typename T>(T) {
    const T* from = static_cast<const T*>(source);
    for (std::size_t i = 0; i < count; ++i) target[i] = widen(from[i]);
  });
}

void scale(void* data, std::size_t count, Dtype dtype, double factor) {
  RINGLET_CHECK(is_floating(dtype), "scale of {}", name_of(dtype));
  with_type(dtype, [&]<typename T>(T) {
    using Wide = ringlet::Wide<T>;
    T* values = static_cast<T*>(data);
    const Wide by = static_cast<Wide>(factor);
    for (std::size_t i = 0; i < count; ++i) {
      values[i] = narrow<T>(static_cast<Wide>(widen(values[i]) * by));
    }
  });
}

}  // namespace ringlet
