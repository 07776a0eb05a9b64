#include "engine/autograd/ops.h"
#include "engine/autograd/ops/shapes.h"

namespace ringlet {

Variable global_average_pool(const Variable& x) {
  const ActivationShape shape = activation_of("global_average_pool", x.data());
  const Layout layout = x.data().layout();
  Tensor y(shape_of({shape.n, shape.c}));
  backend(x.data().device())
      .pool.average_forward(shape, layout, x.data().data(), y.data());
  return make_result("global_average_pool", y, {x},
                     [=, x = x.without_value()](const Tensor& dy) {
                       PoolKernels& kernels = backend(dy.device()).pool;
                       GradSink dx(x);
                       kernels.average_backward(shape, layout, dy.data(),
                                                dx.memory().data());
                       dx.deliver();
                     });
}

}  // namespace ringlet
