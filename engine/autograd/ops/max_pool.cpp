#include "engine/autograd/ops.h"
#include "engine/autograd/ops/shapes.h"

namespace ringlet {

Variable max_pool2d(const Variable& x, const MaxPoolOptions& options) {
  const MaxPoolShape shape{activation_of("max_pool2d", x.data()),
                           options.kernel, options.stride, options.padding};
  const Layout layout = x.data().layout();
  PoolKernels& kernels = backend(x.data().device()).pool;
  const ActivationShape out = shape.y();
  Tensor y(shape_of({out.n, out.c, out.h, out.w}), Dtype::kF32, layout);
  Tensor winner(shape_of({y.storage_count()}), Dtype::kU8);
  kernels.max_forward(shape, layout, x.data().data(), y.data(),
                      winner.data<std::uint8_t>());
  return make_result("max_pool2d", y, {x}, [=, &kernels](const Tensor& dy) {
    GradSink dx(x);
    kernels.max_backward(shape, layout, dy.data(), winner.data<std::uint8_t>(),
                         dx.memory().data());
    dx.deliver();
  });
}

}  // namespace ringlet
