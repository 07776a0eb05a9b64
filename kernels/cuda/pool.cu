#include "kernels/cuda/context.h"
#include "kernels/cuda/families.h"
#include "kernels/cuda/pool.cuh"

namespace ringlet::cuda {
namespace {

constexpr unsigned kThreads = 256;

// Calls body<T, P>(packs, grid) for the packs of an activation of this shape.
template <typename Body>
void each_kind(const Activation& shape, const Body& body) {
  const std::size_t count = shape.storage_count();
  if (count == 0) return;
  with_activation_type(shape.dtype, [&]<typename T>(T) {
    if (shape.c % kPack == 0) {
      const std::size_t packs = count / kPack;
      body.template operator()<T, kPack>(packs,
                                         dim3(blocks_for(packs, kThreads)));
    } else {
      body.template operator()<T, 1>(count, dim3(blocks_for(count, kThreads)));
    }
  });
}

PoolWindow window_of(const MaxPoolShape& shape) {
  const auto size = [](std::size_t value) { return static_cast<int>(value); };
  return {size(shape.x.h),     size(shape.x.w),    size(shape.out_h()),
          size(shape.out_w()), size(shape.x.c),    size(shape.kernel),
          size(shape.stride),  size(shape.padding)};
}

class Pool final : public PoolKernels {
 public:
  void max_forward(const MaxPoolShape& shape, const void* x, void* y,
                   std::uint8_t* winner) override {
    each_kind(shape.y(), [&]<typename T, int P>(std::size_t packs, dim3 grid) {
      launch(max_pool<T, P>, grid, dim3(kThreads), 0, stream(),
             window_of(shape), packs, static_cast<const T*>(x),
             static_cast<T*>(y), winner);
    });
  }
  void max_backward(const MaxPoolShape& shape, const void* dy,
                    const std::uint8_t* winner, void* dx) override {
    each_kind(shape.x, [&]<typename T, int P>(std::size_t packs, dim3 grid) {
      launch(max_pool_backward<T, P>, grid, dim3(kThreads), 0, stream(),
             window_of(shape), packs, static_cast<const T*>(dy), winner,
             static_cast<T*>(dx));
    });
  }
  void average_forward(const Activation& shape, const void* x,
                       void* y) override {
    const Activation means{shape.n, shape.c, 1, 1, shape.layout, shape.dtype};
    each_kind(means, [&]<typename T, int P>(std::size_t packs, dim3 grid) {
      launch(average_pool<T, P>, grid, dim3(kThreads), 0, stream(), packs,
             shape.pixels(), shape.c, static_cast<const T*>(x),
             static_cast<T*>(y));
    });
  }
  void average_backward(const Activation& shape, const void* dy,
                        void* dx) override {
    each_kind(shape, [&]<typename T, int P>(std::size_t packs, dim3 grid) {
      launch(average_pool_backward<T, P>, grid, dim3(kThreads), 0, stream(),
             packs, shape.pixels(), shape.c, static_cast<const T*>(dy),
             static_cast<T*>(dx));
    });
  }
};

}  // namespace

std::unique_ptr<PoolKernels> make_pool() { return std::make_unique<Pool>(); }

}  // namespace ringlet::cuda
