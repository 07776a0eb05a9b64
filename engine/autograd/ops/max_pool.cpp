#include "engine/autograd/ops.h"
#include "engine/autograd/ops/shapes.h"

namespace ringlet {

Variable max_pool2d(const Variable& x, const MaxPoolOptions& options) {
  const Activation in = activation_of("max_pool2d", x.data());
  RINGLET_CHECK(
      options.stride > 0 && options.padding * 2 <= options.kernel &&
          std::min(in.h, in.w) + 2 * options.padding >= options.kernel,
      "max_pool2d of {} with kernel {}, stride {}, padding {}: the "
      "kernel does not fit the picture, or lies beside it",
      to_string(x.data().shape()), options.kernel, options.stride,
      options.padding);
  const MaxPoolShape shape{in, options.kernel, options.stride, options.padding};
  const Activation out = shape.y();
  Tensor y(shape_of({out.n, out.c, out.h, out.w}), out.dtype, out.layout,
           x.data().device());
  Tensor winner(shape_of({y.storage_count()}), Dtype::kU8, Layout::kPlain,
                y.device());
  backend(x.data().device())
      .pool.max_forward(shape, x.data().raw(), y.raw(),
                        winner.data<std::uint8_t>());
  return make_result(
      "max_pool2d", y, {x}, [=, x = x.without_value()](const Tensor& dy) {
        PoolKernels& kernels = backend(dy.device()).pool;
        GradSink dx(x);
        kernels.max_backward(shape, dy.raw(), winner.data<std::uint8_t>(),
                             dx.memory().raw());
        dx.deliver();
      });
}

}  // namespace ringlet
