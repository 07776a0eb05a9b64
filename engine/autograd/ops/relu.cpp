#include "engine/autograd/ops.h"
#include "engine/autograd/ops/shapes.h"

namespace ringlet {

Variable relu(const Variable& x) {
  Tensor y(x.data().shape(), x.data().dtype(), x.data().layout(),
           x.data().device());
  backend(x.data().device())
      .elementwise.relu(y.storage_count(), y.dtype(), x.data().raw(), y.raw());
  return make_result(
      "relu", y, {x}, [=, x = x.without_value()](const Tensor& dy) {
        ElementwiseKernels& kernels = backend(dy.device()).elementwise;
        GradSink dx(x);
        kernels.relu_backward(y.storage_count(), y.dtype(), y.raw(), dy.raw(),
                              dx.memory().raw());
        dx.deliver();
      });
}

}  // namespace ringlet
