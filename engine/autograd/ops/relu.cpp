#include "engine/autograd/ops.h"
#include "engine/autograd/ops/shapes.h"

namespace ringlet {

Variable relu(const Variable& x) {
  Tensor y(x.data().shape(), Dtype::kF32, x.data().layout());
  backend(x.data().device())
      .elementwise.relu(y.storage_count(), x.data().data(), y.data());
  return make_result(
      "relu", y, {x}, [=, x = x.without_value()](const Tensor& dy) {
        ElementwiseKernels& kernels = backend(dy.device()).elementwise;
        GradSink dx(x);
        kernels.relu_backward(y.storage_count(), y.data(), dy.data(),
                              dx.memory().data());
        dx.deliver();
      });
}

}  // namespace ringlet
