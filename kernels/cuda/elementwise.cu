#include "kernels/cuda/context.h"
#include "kernels/cuda/elementwise.cuh"
#include "kernels/cuda/families.h"

namespace ringlet::cuda {
namespace {

constexpr unsigned kThreads = 256;

template <typename Op>
void run(std::size_t count, Dtype dtype, const void* a, const void* b,
         void* y) {
  if (count == 0) return;
  with_activation_type(dtype, [&]<typename T>(T) {
    launch(combine<Op, T>, dim3(blocks_for(count / kPack + 1, kThreads)),
           dim3(kThreads), 0, stream(), count, static_cast<const T*>(a),
           static_cast<const T*>(b), static_cast<T*>(y));
  });
}

template <typename From, typename To>
void reorder_typed(const Activation& from, const From* x, Layout layout,
                   To* y) {
  const std::size_t count = from.storage_count();
  if (count == 0) return;
  if (from.layout == layout) {
    launch(convert<From, To>, dim3(blocks_for(count, kThreads)), dim3(kThreads),
           0, stream(), count, x, y);
    return;
  }
  const bool to_plain = layout == Layout::kPlain;
  const std::size_t rows = to_plain ? from.pixels() : from.c;
  const std::size_t columns = to_plain ? from.c : from.pixels();
  const auto tiles = [](std::size_t size) {
    return static_cast<unsigned>((size + kTransposeTile - 1) / kTransposeTile);
  };
  // A grid has at most so many blocks along z.
  constexpr std::size_t kPicturesAtOnce = 65535;
  for (std::size_t first = 0; first < from.n; first += kPicturesAtOnce) {
    const std::size_t offset = first * rows * columns;
    const auto pictures =
        static_cast<unsigned>(std::min(from.n - first, kPicturesAtOnce));
    launch(transpose<From, To>, dim3(tiles(columns), tiles(rows), pictures),
           dim3(kTransposeTile, kTransposeRows), 0, stream(), rows, columns,
           x + offset, y + offset);
  }
}

class Elementwise final : public ElementwiseKernels {
 public:
  void relu(std::size_t count, Dtype dtype, const void* x, void* y) override {
    run<Relu>(count, dtype, x, x, y);
  }
  void relu_backward(std::size_t count, Dtype dtype, const void* y,
                     const void* dy, void* dx) override {
    run<ReluBackward>(count, dtype, y, dy, dx);
  }
  void add(std::size_t count, Dtype dtype, const void* a, const void* b,
           void* y) override {
    run<Add>(count, dtype, a, b, y);
  }
  void reorder(const Activation& from, const void* x, Layout layout,
               Dtype dtype, void* y) override {
    with_activation_type(from.dtype, [&]<typename From>(From) {
      with_activation_type(dtype, [&]<typename To>(To) {
        reorder_typed(from, static_cast<const From*>(x), layout,
                      static_cast<To*>(y));
      });
    });
  }
};

}  // namespace

std::unique_ptr<ElementwiseKernels> make_elementwise() {
  return std::make_unique<Elementwise>();
}

}  // namespace ringlet::cuda
