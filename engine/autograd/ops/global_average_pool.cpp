#include "engine/autograd/ops.h"
#include "engine/autograd/ops/shapes.h"

namespace ringlet {

Variable global_average_pool(const Variable& x) {
  const Activation shape = activation_of("global_average_pool", x.data());
  Tensor y(shape_of({shape.n, shape.c}), shape.dtype, Layout::kPlain,
           x.data().device());
  backend(x.data().device())
      .pool.average_forward(shape, x.data().raw(), y.raw());
  return make_result("global_average_pool", y, {x},
                     [=, x = x.without_value()](const Tensor& dy) {
                       PoolKernels& kernels = backend(dy.device()).pool;
                       GradSink dx(x);
                       kernels.average_backward(shape, dy.raw(),
                                                dx.memory().raw());
                       dx.deliver();
                     });
}

}  // namespace ringlet
