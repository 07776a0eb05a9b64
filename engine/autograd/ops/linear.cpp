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
  const LinearArgs args{size_at(x.data(), 0), size_at(x.data(), 1),
                        size_at(weight.data(), 0), x.data().dtype()};
  check_vector("linear", "bias", bias.data(), args.out);
  Tensor y(shape_of({args.n, args.out}), args.dtype, Layout::kPlain,
           x.data().device());
  backend(x.data().device())
      .linear.forward(args, x.data().raw(), weight.data_as(args.dtype).raw(),
                      bias.data().data(), y.raw());
  return make_result("linear", y, {x, weight, bias}, [=](const Tensor& dy) {
    LinearKernels& kernels = backend(dy.device()).linear;
    GradSink dweight(weight), dbias(bias), dx(x);
    kernels.backward_weights(args, x.data().raw(), dy.raw(),
                             dweight.memory().data(), dbias.memory().data());
    dbias.deliver();
    dweight.deliver();
    if (dx.wanted()) {
      kernels.backward_data(args, dy.raw(), weight.data_as(args.dtype).raw(),
                            dx.memory().raw());
      dx.deliver();
    }
  });
}

}  // namespace ringlet
