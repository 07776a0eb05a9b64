#include "engine/autograd/ops.h"
#include "engine/autograd/ops/shapes.h"

namespace ringlet {

Variable linear(const Variable& x, const Variable& weight,
                const Variable& bias) {
  RINGLET_CHECK(x.data().shape().size() == 2 &&
                    weight.data().shape().size() == 2 &&
                    x.data().dim(1) == weight.data().dim(1),
                "linear of {} with weights {}", to_string(x.data().shape()),
                to_string(weight.data().shape()));
  const LinearShape shape{size_at(x.data(), 0), size_at(x.data(), 1),
                          size_at(weight.data(), 0)};
  check_vector("linear", "bias", bias.data(), shape.out);
  Tensor y(shape_of({shape.n, shape.out}));
  backend(x.data().device())
      .linear.forward(shape, x.data().data(), weight.data().data(),
                      bias.data().data(), y.data());
  return make_result("linear", y, {x, weight, bias}, [=](const Tensor& dy) {
    LinearKernels& kernels = backend(dy.device()).linear;
    GradSink dweight(weight), dbias(bias), dx(x);
    kernels.backward_weights(shape, x.data().data(), dy.data(),
                             dweight.memory().data(), dbias.memory().data());
    dbias.deliver();
    dweight.deliver();
    if (dx.wanted()) {
      kernels.backward_data(shape, dy.data(), weight.data().data(),
                            dx.memory().data());
      dx.deliver();
    }
  });
}

}  // namespace ringlet
