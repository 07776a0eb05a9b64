#include <algorithm>

#include "engine/autograd/ops.h"
#include "engine/autograd/ops/shapes.h"

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
  double count = 0;  // values of all ranks, where they share them
};

Tensor per_channel(const Activation& shape, Device device) {
  return Tensor(shape_of({shape.c}), Dtype::kF32, Layout::kPlain, device);
}

void check_count(double count, const Tensor& x) {
  if (count > 1) return;
  throw Error(fmt::format(
      "batch norm of one value per channel, {}: its deviation is not known; "
      "expected a larger batch per rank, or larger pictures",
      to_string(x.shape())));
}

// Those of all ranks' pictures: counts, sums and sums of squares are added, in
// double precision.
Statistics shared_statistics(const Activation& shape, const Tensor& x,
                             const BatchNormState& state) {
  const Tensor mean = per_channel(shape, x.device());
  const Tensor var = per_channel(shape, x.device());
  NormKernels& norm = backend(x.device()).norm;
  norm.moments(shape, x.raw(), mean.data(), var.data());
  std::vector<double> sums(1 + 2 * shape.c);
  if (state.shared->counts) {
    const auto count = static_cast<double>(shape.n * shape.pixels());
    sums[0] = count;
    for (std::size_t c = 0; c < shape.c; ++c) {
      const double centre = mean.data()[c];
      sums[1 + 2 * c] = count * centre;
      sums[2 + 2 * c] =
          count * (static_cast<double>(var.data()[c]) + centre * centre);
    }
  }
  state.shared->add_up(sums);
  const double count = sums[0];
  check_count(count, x);
  const double momentum = static_cast<double>(state.momentum);
  const auto move = [&](float& running, double now) {
    running +=
        static_cast<float>(momentum * (now - static_cast<double>(running)));
  };
  for (std::size_t c = 0; c < shape.c; ++c) {
    const double centre = sums[1 + 2 * c] / count;
    const double spread =
        std::max(0.0, sums[2 + 2 * c] / count - centre * centre);
    mean.data()[c] = static_cast<float>(centre);
    var.data()[c] = static_cast<float>(spread);
    move(state.running_mean.data()[c], centre);
    move(state.running_var.data()[c], spread * count / (count - 1));
  }
  if (state.batches.defined()) ++*state.batches.data<std::int64_t>();
  norm.inverse_std(shape.c, var.data(), state.eps, var.data());
  return {mean, var, count};
}

// dx, of statistics that all ranks share: theirs are the sums of dgamma and
// dbeta that it depends on.
void shared_backward(BatchNormBackward args, const SharedStatistics& shared,
                     double count) {
  const std::size_t channels = args.shape.c;
  NormKernels& norm = backend(Device::kCpu).norm;
  norm.gradient_sums(args);
  std::vector<double> sums(args.dgamma, args.dgamma + channels);
  sums.insert(sums.end(), args.dbeta, args.dbeta + channels);
  shared.add_up(sums);
  std::vector<float> all(sums.begin(), sums.end());
  if (!shared.counts) std::fill(all.begin(), all.end(), 0.0f);
  args.all_dgamma = all.data();
  args.all_dbeta = all.data() + channels;
  args.all_count = static_cast<float>(count);
  norm.backward(args);
}

// Those of the batch; updates the running ones.
Statistics batch_statistics(const Activation& shape, const Tensor& x,
                            const BatchNormState& state) {
  if (state.shared != nullptr) return shared_statistics(shape, x, state);
  check_count(static_cast<double>(shape.n * shape.pixels()), x);
  const Tensor mean = per_channel(shape, x.device());
  const Tensor inv_std = per_channel(shape, x.device());
  backend(x.device())
      .norm.statistics({.shape = shape,
                        .x = x.raw(),
                        .eps = state.eps,
                        .momentum = state.momentum,
                        .running_mean = state.running_mean.data(),
                        .running_var = state.running_var.data(),
                        .batches = state.batches.defined()
                                       ? state.batches.data<std::int64_t>()
                                       : nullptr,
                        .mean = mean.data(),
                        .inv_std = inv_std.data()});
  return {mean, inv_std};
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
        if (statistics.count > 0) {
          shared_backward(args, *shared, statistics.count);
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
