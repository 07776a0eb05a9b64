#include "engine/autograd/ops.h"
#include "engine/autograd/ops/shapes.h"
#include "kernels/runtime/recording.h"

namespace ringlet {
namespace {

void check_shapes(const Activation& shape, const Variable& x,
                  const Variable& gamma, const Variable& beta,
                  const BatchNormState& state, const Variable& residual) {
  check_vector("batch_norm", "gamma", gamma.data(), shape.c);
  check_vector("batch_norm", "beta", beta.data(), shape.c);
  check_vector("batch_norm", "running_mean", state.running_mean, shape.c);
  check_vector("batch_norm", "running_var", state.running_var, shape.c);
  RINGLET_CHECK(
      !residual.defined() || (residual.data().shape() == x.data().shape() &&
                              residual.data().layout() == x.data().layout() &&
                              residual.data().dtype() == shape.dtype),
      "batch_norm of {} {} with a residual {} {}", name_of(shape.dtype),
      to_string(x.data().shape()), name_of(residual.data().dtype()),
      to_string(residual.data().shape()));
}

// What x is normalised with.
struct Statistics {
  Tensor mean, inv_std;
  Tensor sums = {};  // of all ranks, where they share them
};

Tensor vector_of(std::size_t size, Dtype dtype, Device device) {
  return Tensor(shape_of({size}), dtype, Layout::kPlain, device);
}

void check_count(double count, const Tensor& x) {
  if (count > 1) return;
  throw Error(fmt::format(
      "batch norm of one value per channel, {}: its deviation is not known; "
      "expected a larger batch per rank, or larger pictures",
      to_string(x.shape())));
}

// NormKernels::sums of all ranks' pictures.
Tensor shared_sums(const Activation& shape, const Tensor& x,
                   const SharedStatistics& shared) {
  const Tensor sums = vector_of(1 + 2 * shape.c, Dtype::kF64, x.device());
  backend(x.device()).norm.sums(shape, x.raw(), sums.data<double>());
  if (!shared.counts) sums.fill_zero();
  shared.add_up(sums);
  // A recorded step is like one before it that was not.
  const bool enough = shared.counts && shape.n * shape.pixels() > 1;
  if (!enough && !Recording::is_on()) check_count(sums.rows(0, 1).item(), x);
  return sums;
}

// The gradients, where all ranks share the statistics: dx depends on the sums
// of their dgamma and dbeta.
void shared_backward(BatchNormBackward args, const SharedStatistics& shared,
                     const Tensor& statistics) {
  const Device device = statistics.device();
  const Tensor sums = vector_of(2 * args.shape.c, Dtype::kF64, device);
  backend(device).norm.gradient_sums(args, sums.data<double>());
  shared.add_up(sums);
  if (!shared.counts) sums.fill_zero();
  args.all_sums = sums.data<double>();
  args.all_count = statistics.data<double>();
  backend(device).norm.backward(args);
}

// Those of the batch; updates the running ones.
Statistics batch_statistics(const Activation& shape, const Tensor& x,
                            const BatchNormState& state) {
  NormKernels& norm = backend(x.device()).norm;
  Statistics result{vector_of(shape.c, Dtype::kF32, x.device()),
                    vector_of(shape.c, Dtype::kF32, x.device())};
  const BatchNormStatistics args{
      .shape = shape,
      .x = x.raw(),
      .eps = state.eps,
      .momentum = state.momentum,
      .running_mean = state.running_mean.data(),
      .running_var = state.running_var.data(),
      .batches = state.batches.defined() ? state.batches.data<std::int64_t>()
                                         : nullptr,
      .mean = result.mean.data(),
      .inv_std = result.inv_std.data()};
  if (state.shared != nullptr) {
    result.sums = shared_sums(shape, x, *state.shared);
    norm.statistics_of(args, result.sums.data<double>());
  } else {
    check_count(static_cast<double>(shape.n * shape.pixels()), x);
    norm.statistics(args);
  }
  return result;
}

Statistics running_statistics(const BatchNormState& state) {
  const Tensor& var = state.running_var;
  const Tensor inv_std(var.shape(), Dtype::kF32, Layout::kPlain, var.device());
  backend(inv_std.device())
      .norm.inverse_std(inv_std.count(), var.data(), state.eps, inv_std.data());
  return {state.running_mean, inv_std};
}

// Memory for what backward must know of the ReLU; undefined where it is
// nothing.
Tensor make_mask(const Activation& shape, const Tensor& x, bool has_residual) {
  const std::size_t bytes =
      backend(x.device()).norm.mask_bytes(shape, has_residual);
  if (bytes == 0) return {};
  return Tensor(shape_of({bytes}), Dtype::kU8, Layout::kPlain, x.device());
}

std::uint8_t* data_or_null(const Tensor& mask) {
  return mask.defined() ? mask.data<std::uint8_t>() : nullptr;
}

}  // namespace

Variable batch_norm(const Variable& x, const Variable& gamma,
                    const Variable& beta, const BatchNormState& state,
                    const BatchNormOptions& options) {
  const Variable& residual = options.residual;
  const Activation shape = activation_of("batch_norm", x.data());
  check_shapes(shape, x, gamma, beta, state, residual);
  const Statistics statistics = options.training
                                    ? batch_statistics(shape, x.data(), state)
                                    : running_statistics(state);
  const Tensor y(x.data().shape(), shape.dtype, shape.layout,
                 x.data().device());
  Tensor mask;
  if (options.relu && records_gradient({x, gamma, beta, residual})) {
    mask = make_mask(shape, x.data(), residual.defined());
  }
  backend(x.data().device())
      .norm.apply(
          {.shape = shape,
           .x = x.data().raw(),
           .gamma = gamma.data().data(),
           .beta = beta.data().data(),
           .mean = statistics.mean.data(),
           .inv_std = statistics.inv_std.data(),
           .residual = residual.defined() ? residual.data().raw() : nullptr,
           .relu = options.relu,
           .y = y.raw(),
           .mask = data_or_null(mask)});

  return make_result(
      "batch_norm", y, {x, gamma, beta, residual},
      [=, training = options.training, relu = options.relu,
       shared = state.shared,
       residual = residual.without_value()](const Tensor& dy) {
        GradSink dgamma(gamma), dbeta(beta), dx(x), dresidual(residual);
        const BatchNormBackward args{.shape = shape,
                                     .x = x.data().raw(),
                                     .gamma = gamma.data().data(),
                                     .beta = beta.data().data(),
                                     .constant_statistics = !training,
                                     .mean = statistics.mean.data(),
                                     .inv_std = statistics.inv_std.data(),
                                     .relu = relu,
                                     .mask = data_or_null(mask),
                                     .dy = dy.raw(),
                                     .dx = dx.memory().raw(),
                                     .dresidual = residual.defined()
                                                      ? dresidual.memory().raw()
                                                      : nullptr,
                                     .dgamma = dgamma.memory().data(),
                                     .dbeta = dbeta.memory().data()};
        if (statistics.sums.defined()) {
          shared_backward(args, *shared, statistics.sums);
        } else {
          backend(dy.device()).norm.backward(args);
        }
        dbeta.deliver();
        dgamma.deliver();
        dresidual.deliver();
        dx.deliver();
      });
}

}  // namespace ringlet
