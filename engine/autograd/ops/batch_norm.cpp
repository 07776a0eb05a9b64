#include <cmath>

#include "engine/autograd/ops.h"
#include "engine/autograd/ops/shapes.h"

namespace ringlet {
namespace {

Tensor inverse_std(const Tensor& var, float eps) {
  Tensor inv_std(var.shape());
  for (std::size_t c = 0; c < var.count(); ++c) {
    inv_std.data()[c] = 1.0f / std::sqrt(var.data()[c] + eps);
  }
  return inv_std;
}

// running = (1 - momentum) running + momentum new, in place.
void update_running(const Tensor& running, const Tensor& now, float momentum,
                    float now_factor) {
  for (std::size_t c = 0; c < now.count(); ++c) {
    float& value = running.data()[c];
    value += momentum * (now.data()[c] * now_factor - value);
  }
}

void check_shapes(const ActivationShape& shape, const Variable& x,
                  const Variable& gamma, const Variable& beta,
                  const BatchNormState& state, const Variable& residual) {
  check_vector("batch_norm", "gamma", gamma.data(), shape.c);
  check_vector("batch_norm", "beta", beta.data(), shape.c);
  check_vector("batch_norm", "running_mean", state.running_mean, shape.c);
  check_vector("batch_norm", "running_var", state.running_var, shape.c);
  RINGLET_CHECK(
      !residual.defined() || (residual.data().shape() == x.data().shape() &&
                              residual.data().layout() == x.data().layout()),
      "batch_norm of {} with a residual {}", to_string(x.data().shape()),
      to_string(residual.data().shape()));
}

// Mean and 1/std of the batch; updates the running statistics.
std::pair<Tensor, Tensor> batch_statistics(const ActivationShape& shape,
                                           const Tensor& x,
                                           const BatchNormState& state) {
  Tensor mean(shape_of({shape.c})), var(shape_of({shape.c}));
  backend(x.device())
      .norm.batch_statistics(shape, x.layout(), x.data(), mean.data(),
                             var.data());
  const auto samples = static_cast<float>(shape.n * shape.pixels());
  if (samples <= 1) {
    throw Error(fmt::format(
        "batch norm of one value per channel, {}: its deviation is not known; "
        "expected a larger batch per rank, or larger pictures",
        to_string(x.shape())));
  }
  update_running(state.running_mean, mean, state.momentum, 1.0f);
  update_running(state.running_var, var, state.momentum,
                 samples / (samples - 1));
  return {mean, inverse_std(var, state.eps)};
}

}  // namespace

Variable batch_norm(const Variable& x, const Variable& gamma,
                    const Variable& beta, const BatchNormState& state,
                    const BatchNormOptions& options) {
  const Variable& residual = options.residual;
  const ActivationShape shape = activation_of("batch_norm", x.data());
  check_shapes(shape, x, gamma, beta, state, residual);
  const bool records = records_gradient({x, gamma, beta, residual});
  const auto [mean, inv_std] =
      options.training ? batch_statistics(shape, x.data(), state)
                       : std::pair{state.running_mean,
                                   inverse_std(state.running_var, state.eps)};
  const Layout layout = x.data().layout();
  Tensor y(x.data().shape(), Dtype::kF32, layout);
  Tensor mask;
  if (records && options.relu) {
    mask = Tensor(shape_of({mask_bytes(shape, layout)}), Dtype::kU8);
  }
  const auto mask_data = [](const Tensor& bits) {
    return bits.defined() ? bits.data<std::uint8_t>() : nullptr;
  };
  backend(x.data().device())
      .norm.apply(
          {.shape = shape,
           .layout = layout,
           .x = x.data().data(),
           .gamma = gamma.data().data(),
           .beta = beta.data().data(),
           .residual = residual.defined() ? residual.data().data() : nullptr,
           .relu = options.relu,
           .y = y.data(),
           .mask = mask_data(mask)},
          mean.data(), inv_std.data());

  return make_result(
      "batch_norm", y, {x, gamma, beta, residual},
      [=, mean = mean, inv_std = inv_std, training = options.training,
       residual = residual.without_value()](const Tensor& dy) {
        GradSink dgamma(gamma), dbeta(beta), dx(x), dresidual(residual);
        backend(dy.device())
            .norm.backward({.shape = shape,
                            .layout = layout,
                            .x = x.data().data(),
                            .gamma = gamma.data().data(),
                            .constant_statistics = !training,
                            .mean = mean.data(),
                            .inv_std = inv_std.data(),
                            .mask = mask_data(mask),
                            .dy = dy.data(),
                            .dx = dx.memory().data(),
                            .dresidual = residual.defined()
                                             ? dresidual.memory().data()
                                             : nullptr,
                            .dgamma = dgamma.memory().data(),
                            .dbeta = dbeta.memory().data()});
        dbeta.deliver();
        dgamma.deliver();
        dresidual.deliver();
        dx.deliver();
      });
}

}  // namespace ringlet
