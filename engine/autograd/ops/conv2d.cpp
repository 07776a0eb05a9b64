#include "engine/autograd/ops.h"
#include "engine/autograd/ops/shapes.h"

namespace ringlet {
namespace {

ConvShape conv_shape(const Tensor& x, const Tensor& weight,
                     const Conv2dOptions& options) {
  const Activation in = activation_of("conv2d", x);
  RINGLET_CHECK(weight.shape().size() == 4 && size_at(weight, 1) == in.c,
                "conv2d of {} wants weights [k, {}, kh, kw], got {}",
                to_string(x.shape()), in.c, to_string(weight.shape()));
  const ConvShape shape{in.n,
                        in.c,
                        in.h,
                        in.w,
                        size_at(weight, 0),
                        size_at(weight, 2),
                        size_at(weight, 3),
                        options.stride,
                        options.padding};
  RINGLET_CHECK(shape.stride > 0 &&
                    in.h + 2 * options.padding >= shape.kernel_h &&
                    in.w + 2 * options.padding >= shape.kernel_w,
                "conv2d of {} with {}, stride {}, padding {}: the kernel does "
                "not fit the picture",
                to_string(x.shape()), to_string(weight.shape()), options.stride,
                options.padding);
  return shape;
}

const float* data_or_null(const Variable& variable) {
  return variable.defined() ? variable.data().data() : nullptr;
}

}  // namespace

Variable conv2d(const Variable& x, const Variable& weight, const Variable& bias,
                const Conv2dOptions& options) {
  const ConvShape shape = conv_shape(x.data(), weight.data(), options);
  if (bias.defined()) check_vector("conv2d", "bias", bias.data(), shape.k);
  Backend& device = backend(x.data().device());
  const ConvArgs args{shape, x.data().layout(), x.data().dtype()};
  Tensor y(shape_of({shape.n, shape.k, shape.out_h(), shape.out_w()}),
           args.dtype, device.activation_layout, x.data().device());
  device.conv.forward(args, x.data().raw(), weight.data_as(args.dtype).raw(),
                      data_or_null(bias), y.raw());

  return make_result("conv2d", y, {x, weight, bias}, [=](const Tensor& dy) {
    ConvKernels& kernels = backend(dy.device()).conv;
    // Weights first: their gradient may then travel between ranks while
    // the next line computes.
    GradSink dweight(weight), dbias(bias), dx(x);
    if (dweight.wanted() || dbias.wanted()) {
      kernels.backward_weights(
          args, x.data().raw(), dy.raw(), dweight.memory().data(),
          bias.defined() ? dbias.memory().data() : nullptr);
      dbias.deliver();
      dweight.deliver();
    }
    if (dx.wanted()) {
      kernels.backward_data(args, dy.raw(), weight.data_as(args.dtype).raw(),
                            dx.memory().raw());
      dx.deliver();
    }
  });
}

}  // namespace ringlet
