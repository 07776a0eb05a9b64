#include <cmath>

#include "cuda/support.h"
#include "kernels/cuda/families.h"

using namespace ringlet;
using namespace ringlet::testing;

namespace {

constexpr float kEps = 1e-5f, kMomentum = 0.1f;

struct Case {
  Activation shape;
  bool relu, residual, constant_statistics;
  double mean = 0;  // of x

  std::size_t rows() const { return shape.n * shape.pixels(); }
  std::size_t count() const { return shape.storage_count(); }
};

// What a batch norm comes to, by the formulas, in double precision.
struct Expected {
  std::vector<double> mean, var, y, dx, dresidual, dgamma, dbeta;
};

struct Inputs {
  std::vector<double> x, residual, dy, gamma, beta, running_mean, running_var;

  explicit Inputs(const Case& c)
      : x(random_values(c.count(), 1, c.mean - 1, c.mean + 1)),
        residual(random_values(c.count(), 2)),
        dy(random_values(c.count(), 3)),
        gamma(random_values(c.shape.c, 4, 0.5, 1.5)),
        beta(random_values(c.shape.c, 5)),
        running_mean(random_values(c.shape.c, 6)),
        running_var(random_values(c.shape.c, 7, 0.5, 1.5)) {}
};

Expected expect(const Case& c, const Inputs& in) {
  const std::size_t channels = c.shape.c, rows = c.rows();
  const auto n = static_cast<double>(rows);
  Expected e;
  for (auto* v : {&e.mean, &e.var, &e.dgamma, &e.dbeta}) v->resize(channels);
  for (auto* v : {&e.y, &e.dx, &e.dresidual}) v->resize(c.count());
  for (std::size_t k = 0; k < channels; ++k) {
    const auto at = [&](std::size_t row) { return row * channels + k; };
    for (std::size_t r = 0; r < rows; ++r) e.mean[k] += in.x[at(r)] / n;
    for (std::size_t r = 0; r < rows; ++r) {
      e.var[k] += std::pow(in.x[at(r)] - e.mean[k], 2) / n;
    }
    const double mean = c.constant_statistics ? in.running_mean[k] : e.mean[k];
    const double var = c.constant_statistics ? in.running_var[k] : e.var[k];
    const double inv_std = 1 / std::sqrt(var + static_cast<double>(kEps));
    std::vector<double> g(rows);
    for (std::size_t r = 0; r < rows; ++r) {
      const double x_hat = (in.x[at(r)] - mean) * inv_std;
      double y = in.gamma[k] * x_hat + in.beta[k];
      if (c.residual) y += in.residual[at(r)];
      const bool through = !c.relu || y > 0;
      e.y[at(r)] = through ? y : 0;
      g[r] = through ? in.dy[at(r)] : 0;
      e.dresidual[at(r)] = g[r];
      e.dbeta[k] += g[r];
      e.dgamma[k] += g[r] * x_hat;
    }
    for (std::size_t r = 0; r < rows; ++r) {
      const double x_hat = (in.x[at(r)] - mean) * inv_std;
      const double through_statistics =
          c.constant_statistics ? 0 : (e.dbeta[k] + x_hat * e.dgamma[k]) / n;
      e.dx[at(r)] = in.gamma[k] * inv_std * (g[r] - through_statistics);
    }
  }
  return e;
}

Bits run(const Case& c) {
  const auto norm = cuda::make_norm();
  const Dtype dtype = c.shape.dtype;
  const std::size_t channels = c.shape.c;
  Inputs in(c);
  const AnyArray x(in.x, dtype), residual(in.residual, dtype), dy(in.dy, dtype);
  const AnyArray gamma(in.gamma, Dtype::kF32), beta(in.beta, Dtype::kF32);
  const AnyArray running_mean(in.running_mean, Dtype::kF32);
  const AnyArray running_var(in.running_var, Dtype::kF32);
  const AnyArray batch_mean(channels, Dtype::kF32);
  const AnyArray batch_inv_std(channels, Dtype::kF32);
  const AnyArray constant_inv_std(channels, Dtype::kF32);
  const DeviceArray<std::int64_t> batches(std::vector<std::int64_t>{41});
  const auto floats = [](const AnyArray& array) {
    return static_cast<float*>(array.data());
  };

  norm->inverse_std(channels, floats(running_var), kEps,
                    floats(constant_inv_std));
  const Expected wanted = expect(c, in);
  const AnyArray constant_mean(in.running_mean, Dtype::kF32);
  norm->statistics({.shape = c.shape,
                    .x = x.data(),
                    .eps = kEps,
                    .momentum = kMomentum,
                    .running_mean = floats(running_mean),
                    .running_var = floats(running_var),
                    .batches = batches.data(),
                    .mean = floats(batch_mean),
                    .inv_std = floats(batch_inv_std)});
  const AnyArray& mean = c.constant_statistics ? constant_mean : batch_mean;
  const AnyArray& inv_std =
      c.constant_statistics ? constant_inv_std : batch_inv_std;

  const DeviceArray<std::uint8_t> mask(
      c.relu ? norm->mask_bytes(c.shape, c.residual) : 0);
  std::uint8_t* mask_data = mask.count() > 0 ? mask.data() : nullptr;
  const AnyArray y(c.count(), dtype), dx(c.count(), dtype),
      dresidual(c.count(), dtype);
  const AnyArray dgamma(channels, Dtype::kF32), dbeta(channels, Dtype::kF32);
  norm->apply({.shape = c.shape,
               .x = x.data(),
               .gamma = floats(gamma),
               .beta = floats(beta),
               .mean = floats(mean),
               .inv_std = floats(inv_std),
               .residual = c.residual ? residual.data() : nullptr,
               .relu = c.relu,
               .y = y.data(),
               .mask = mask_data});
  norm->backward({.shape = c.shape,
                  .x = x.data(),
                  .gamma = floats(gamma),
                  .beta = floats(beta),
                  .constant_statistics = c.constant_statistics,
                  .mean = floats(mean),
                  .inv_std = floats(inv_std),
                  .relu = c.relu,
                  .mask = mask_data,
                  .dy = dy.data(),
                  .dx = dx.data(),
                  .dresidual = c.residual ? dresidual.data() : nullptr,
                  .dgamma = floats(dgamma),
                  .dbeta = floats(dbeta)});

  // In parts, as where others' sums are added in between.
  const DeviceArray<double> sums(1 + 2 * channels), gradient_sums(2 * channels);
  const AnyArray parts_mean(channels, Dtype::kF32);
  const AnyArray parts_inv_std(channels, Dtype::kF32);
  const AnyArray parts_running_mean(in.running_mean, Dtype::kF32);
  const AnyArray parts_running_var(in.running_var, Dtype::kF32);
  norm->sums(c.shape, x.data(), sums.data());
  norm->statistics_of({.shape = c.shape,
                       .x = nullptr,
                       .eps = kEps,
                       .momentum = kMomentum,
                       .running_mean = floats(parts_running_mean),
                       .running_var = floats(parts_running_var),
                       .batches = batches.data(),
                       .mean = floats(parts_mean),
                       .inv_std = floats(parts_inv_std)},
                      sums.data());
  const AnyArray parts_dx(c.count(), dtype);
  const AnyArray parts_dgamma(channels, Dtype::kF32);
  const AnyArray parts_dbeta(channels, Dtype::kF32);
  BatchNormBackward parts{.shape = c.shape,
                          .x = x.data(),
                          .gamma = floats(gamma),
                          .beta = floats(beta),
                          .mean = floats(mean),
                          .inv_std = floats(inv_std),
                          .relu = c.relu,
                          .mask = mask_data,
                          .dy = dy.data(),
                          .dx = parts_dx.data(),
                          .dgamma = floats(parts_dgamma),
                          .dbeta = floats(parts_dbeta)};
  norm->gradient_sums(parts, gradient_sums.data());
  parts.all_sums = gradient_sums.data();
  parts.all_count = sums.data();
  norm->backward(parts);

  const auto n = static_cast<double>(c.rows());
  std::vector<double> inverse, moved_mean, moved_var;
  for (std::size_t k = 0; k < channels; ++k) {
    inverse.push_back(1 / std::sqrt(wanted.var[k] + static_cast<double>(kEps)));
    const auto moved = [](double from, double to) {
      return from + static_cast<double>(kMomentum) * (to - from);
    };
    moved_mean.push_back(moved(in.running_mean[k], wanted.mean[k]));
    moved_var.push_back(moved(in.running_var[k], wanted.var[k] * n / (n - 1)));
  }
  const double exact = 4e-6, sum = 2e-6 * std::sqrt(n) + exact;
  // The mean itself is a float.
  const double rounded =
      4 * rounding(dtype) + 2e-5 + 4 * c.mean * rounding(Dtype::kF32);
  CHECK(largest_error(batch_mean.values(), wanted.mean) < exact);
  CHECK(largest_error(batch_inv_std.values(), inverse) < 2e-5);
  CHECK(largest_error(running_mean.values(), moved_mean) < exact);
  CHECK(largest_error(running_var.values(), moved_var) < exact);
  CHECK(batches.to_host() == std::vector<std::int64_t>{43});
  CHECK(largest_error(parts_mean.values(), wanted.mean) < exact);
  CHECK(largest_error(parts_inv_std.values(), inverse) < 2e-5);
  CHECK(largest_error(parts_running_mean.values(), moved_mean) < exact);
  CHECK(largest_error(parts_running_var.values(), moved_var) < exact);
  CHECK((parts_dgamma.raw() == dgamma.raw()));
  CHECK((parts_dbeta.raw() == dbeta.raw()));
  if (!c.constant_statistics) {
    CHECK(largest_error(parts_dx.values(), wanted.dx) < rounded);
  }
  CHECK(largest_error(y.values(), wanted.y) < rounded);
  CHECK(largest_error(dbeta.values(), wanted.dbeta) < sum);
  CHECK(largest_error(dgamma.values(), wanted.dgamma) < 20 * sum);
  CHECK(largest_error(dx.values(), wanted.dx) < rounded);
  if (c.residual) {
    CHECK(largest_error(dresidual.values(), wanted.dresidual) == 0);
  }
  return {batch_mean.raw(),
          batch_inv_std.raw(),
          running_mean.raw(),
          running_var.raw(),
          y.raw(),
          dx.raw(),
          dresidual.raw(),
          dgamma.raw(),
          dbeta.raw()};
}

void check_cases(const std::vector<Activation>& shapes) {
  for (Activation shape : shapes) {
    for (const Dtype dtype : kActivationTypes) {
      shape.dtype = dtype;
      shape.layout = Layout::kChannelsLast;
      for (int kind = 0; kind < 8; ++kind) {
        // The half types differ in loads and stores alone: three kinds do.
        const bool few = kind == 1 || kind == 3 || kind == 6;
        if (dtype != Dtype::kF32 && !few) continue;
        const Case c{shape, (kind & 1) != 0, (kind & 2) != 0, (kind & 4) != 0};
        INFO(name_of(dtype)
             << " n " << shape.n << " c " << shape.c << " h " << shape.h
             << " w " << shape.w << " relu " << c.relu << " residual "
             << c.residual << " constant " << c.constant_statistics);
        in_all_orders([&] { return run(c); });
      }
    }
  }
}

Activation of(std::size_t n, std::size_t c, std::size_t h, std::size_t w) {
  return {n, c, h, w, Layout::kChannelsLast};
}

}  // namespace

TEST_CASE("CUDA batch norm agrees with its formulas, for packs of channels") {
  check_cases(
      {of(2, 8, 1, 1), of(3, 16, 5, 7), of(2, 64, 4, 4), of(5, 72, 3, 11)});
}

TEST_CASE("CUDA batch norm agrees with its formulas, for odd channels") {
  check_cases(
      {of(2, 1, 1, 1), of(3, 7, 5, 5), of(2, 33, 3, 3), of(17, 9, 3, 11)});
}

TEST_CASE("CUDA batch norm's variance does not suffer from a large mean") {
  const Case c{of(4, 16, 8, 8), true, false, false, 300};
  run(c);
}

TEST_CASE("CUDA batch norm hands a NaN on") {
  const Activation shape = of(4, 8, 3, 3);
  std::vector<double> x = random_values(shape.storage_count(), 1);
  std::vector<double> ones(shape.c, 1.0), zeros(shape.c, 0.0);
  x[8 * 5 + 3] = NAN;
  const AnyArray in(x, Dtype::kF32), scale(ones, Dtype::kF32);
  const AnyArray shift(zeros, Dtype::kF32), y(x.size(), Dtype::kF32);
  const auto floats = [](const AnyArray& array) {
    return static_cast<float*>(array.data());
  };
  cuda::make_norm()->apply({.shape = shape,
                            .x = in.data(),
                            .gamma = floats(scale),
                            .beta = floats(shift),
                            .mean = floats(shift),
                            .inv_std = floats(scale),
                            .relu = true,
                            .y = y.data()});
  const std::vector<double> got = y.values();
  for (std::size_t i = 0; i < got.size(); ++i) {
    CHECK(std::isnan(got[i]) == (i == 8 * 5 + 3));
  }
}

TEST_CASE("CUDA batch norm's ReLU lets no gradient through at zero") {
  const Activation shape = of(2, 8, 1, 2);
  const std::size_t count = shape.storage_count();
  std::vector<double> x(count), dy(count, 1.0), ones(shape.c, 1.0);
  std::vector<double> zeros(shape.c, 0.0), residual(count);
  for (std::size_t i = 0; i < count; ++i) {
    x[i] = static_cast<double>(i % 3) - 1;  // -1, 0 and 1
    residual[i] = i % 2 == 0 ? -x[i] : 0;
  }
  const AnyArray in(x, Dtype::kF32), added(residual, Dtype::kF32);
  const AnyArray g(dy, Dtype::kF32), scale(ones, Dtype::kF32);
  const AnyArray shift(zeros, Dtype::kF32), sums(2 * shape.c, Dtype::kF32);
  const AnyArray y(count, Dtype::kF32), dx(count, Dtype::kF32);
  const AnyArray dresidual(count, Dtype::kF32);
  const auto floats = [](const AnyArray& array) {
    return static_cast<float*>(array.data());
  };
  const auto norm = cuda::make_norm();
  for (const bool has_residual : {false, true}) {
    INFO("residual " << has_residual);
    const DeviceArray<std::uint8_t> mask(norm->mask_bytes(shape, has_residual));
    std::uint8_t* bits = mask.count() > 0 ? mask.data() : nullptr;
    norm->apply({.shape = shape,
                 .x = in.data(),
                 .gamma = floats(scale),
                 .beta = floats(shift),
                 .mean = floats(shift),
                 .inv_std = floats(scale),
                 .residual = has_residual ? added.data() : nullptr,
                 .relu = true,
                 .y = y.data(),
                 .mask = bits});
    norm->backward({.shape = shape,
                    .x = in.data(),
                    .gamma = floats(scale),
                    .beta = floats(shift),
                    .constant_statistics = true,
                    .mean = floats(shift),
                    .inv_std = floats(scale),
                    .relu = true,
                    .mask = bits,
                    .dy = g.data(),
                    .dx = dx.data(),
                    .dresidual = has_residual ? dresidual.data() : nullptr,
                    .dgamma = floats(sums),
                    .dbeta = floats(sums) + shape.c});
    std::vector<double> wanted;
    for (std::size_t i = 0; i < count; ++i) {
      wanted.push_back(x[i] + (has_residual ? residual[i] : 0) > 0 ? 1 : 0);
    }
    CHECK((dx.values() == wanted));
  }
}
