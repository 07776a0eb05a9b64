#include "support/reference.h"

#include <cmath>
#include <limits>

#include "kernels/runtime/philox.h"

namespace ringlet::testing {

Array::Array(std::vector<std::size_t> sizes) : shape(std::move(sizes)) {
  std::size_t total = 1;
  for (const std::size_t size : shape) total *= size;
  values.resize(total);
}

double& Array::at(std::size_t n, std::size_t c, std::size_t h, std::size_t w) {
  return values[((n * shape[1] + c) * shape[2] + h) * shape[3] + w];
}
double Array::at(std::size_t n, std::size_t c, std::size_t h,
                 std::size_t w) const {
  return const_cast<Array*>(this)->at(n, c, h, w);
}

Array random_array(std::vector<std::size_t> shape, std::uint32_t seed) {
  Array array(std::move(shape));
  PhiloxStream random(1, RandomPurpose::kSyntheticData, 0, seed);
  for (double& value : array.values) {
    value = static_cast<double>(random.uniform(-1, 1));
  }
  return array;
}

Tensor to_tensor(const Array& array) {
  Shape shape(array.shape.begin(), array.shape.end());
  return Tensor::of(shape, {array.values.begin(), array.values.end()});
}

Array to_array(const Tensor& tensor) {
  Array array({tensor.shape().begin(), tensor.shape().end()});
  if (tensor.dtype() == Dtype::kF64) {
    array.values = {tensor.item()};
    return array;
  }
  const std::vector<float> values = tensor.to_vector();
  array.values.assign(values.begin(), values.end());
  return array;
}

double relative_distance(const Array& a, const Array& b) {
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < b.count(); ++i) {
    const double d = a.values.at(i) - b.values[i];
    difference += d * d;
    size += b.values[i] * b.values[i];
  }
  return size > 0 ? std::sqrt(difference / size) : std::sqrt(difference);
}

namespace {

// Calls visit(row, column, tap) for the taps of a window inside the picture.
template <typename Visit>
void each_tap(std::size_t row, std::size_t column, std::size_t kernel_h,
              std::size_t kernel_w, std::size_t stride, std::size_t padding,
              const Array& x, Visit visit) {
  for (std::size_t i = 0; i < kernel_h; ++i) {
    for (std::size_t j = 0; j < kernel_w; ++j) {
      const std::size_t h = row * stride + i, w = column * stride + j;
      if (h < padding || w < padding) continue;
      if (h - padding >= x.shape[2] || w - padding >= x.shape[3]) continue;
      visit(h - padding, w - padding, i, j);
    }
  }
}

std::size_t out_size(std::size_t size, std::size_t kernel, std::size_t stride,
                     std::size_t padding) {
  return (size + 2 * padding - kernel) / stride + 1;
}

// Calls visit(n, c, h, w) for all elements.
template <typename Visit>
void each_element(const Array& x, Visit visit) {
  for (std::size_t n = 0; n < x.shape[0]; ++n) {
    for (std::size_t c = 0; c < x.shape[1]; ++c) {
      for (std::size_t h = 0; h < x.shape[2]; ++h) {
        for (std::size_t w = 0; w < x.shape[3]; ++w) visit(n, c, h, w);
      }
    }
  }
}

}  // namespace

Array reference_conv2d(const Array& x, const Array& weight, const Array* bias,
                       std::size_t stride, std::size_t padding) {
  const std::size_t kh = weight.shape[2], kw = weight.shape[3];
  Array y({x.shape[0], weight.shape[0],
           out_size(x.shape[2], kh, stride, padding),
           out_size(x.shape[3], kw, stride, padding)});
  each_element(y, [&](auto n, auto k, auto h, auto w) {
    double sum = bias ? bias->values[k] : 0;
    each_tap(h, w, kh, kw, stride, padding, x,
             [&](auto row, auto column, auto i, auto j) {
               for (std::size_t c = 0; c < x.shape[1]; ++c) {
                 sum += x.at(n, c, row, column) * weight.at(k, c, i, j);
               }
             });
    y.at(n, k, h, w) = sum;
  });
  return y;
}

Array reference_batch_norm(const Array& x, const Array& gamma,
                           const Array& beta, const Array* residual, bool relu,
                           double eps) {
  std::vector<double> mean(x.shape[1]), var(x.shape[1]);
  const double samples =
      static_cast<double>(x.count()) / static_cast<double>(x.shape[1]);
  each_element(x, [&](auto n, auto c, auto h, auto w) {
    mean[c] += x.at(n, c, h, w) / samples;
  });
  each_element(x, [&](auto n, auto c, auto h, auto w) {
    const double d = x.at(n, c, h, w) - mean[c];
    var[c] += d * d / samples;
  });
  Array y(x.shape);
  each_element(x, [&](auto n, auto c, auto h, auto w) {
    double v = (x.at(n, c, h, w) - mean[c]) / std::sqrt(var[c] + eps);
    v = v * gamma.values[c] + beta.values[c];
    if (residual) v += residual->at(n, c, h, w);
    y.at(n, c, h, w) = relu && v < 0 ? 0 : v;
  });
  return y;
}

Array reference_relu(const Array& x) {
  Array y = x;
  for (double& value : y.values) value = value < 0 ? 0 : value;
  return y;
}

Array reference_max_pool(const Array& x, std::size_t kernel, std::size_t stride,
                         std::size_t padding) {
  Array y({x.shape[0], x.shape[1],
           out_size(x.shape[2], kernel, stride, padding),
           out_size(x.shape[3], kernel, stride, padding)});
  each_element(y, [&](auto n, auto c, auto h, auto w) {
    double best = -std::numeric_limits<double>::infinity();
    each_tap(h, w, kernel, kernel, stride, padding, x,
             [&](auto row, auto column, auto, auto) {
               best = std::max(best, x.at(n, c, row, column));
             });
    y.at(n, c, h, w) = best;
  });
  return y;
}

Array reference_average_pool(const Array& x) {
  Array y({x.shape[0], x.shape[1]});
  const auto pixels = static_cast<double>(x.shape[2] * x.shape[3]);
  each_element(x, [&](auto n, auto c, auto h, auto w) {
    y.values[n * x.shape[1] + c] += x.at(n, c, h, w) / pixels;
  });
  return y;
}

Array reference_linear(const Array& x, const Array& weight, const Array& bias) {
  const std::size_t in = x.shape[1], out = weight.shape[0];
  Array y({x.shape[0], out});
  for (std::size_t n = 0; n < x.shape[0]; ++n) {
    for (std::size_t o = 0; o < out; ++o) {
      double sum = bias.values[o];
      for (std::size_t i = 0; i < in; ++i) {
        sum += x.values[n * in + i] * weight.values[o * in + i];
      }
      y.values[n * out + o] = sum;
    }
  }
  return y;
}

double reference_cross_entropy(const Array& logits,
                               const std::vector<std::int32_t>& labels,
                               double smoothing, double global_batch) {
  const std::size_t classes = logits.shape[1];
  double loss = 0;
  for (std::size_t n = 0; n < logits.shape[0]; ++n) {
    double sum = 0;
    const double* row = &logits.values[n * classes];
    for (std::size_t k = 0; k < classes; ++k) sum += std::exp(row[k]);
    for (std::size_t k = 0; k < classes; ++k) {
      const bool hit = k == static_cast<std::size_t>(labels[n]);
      const double target =
          smoothing / static_cast<double>(classes) + (hit ? 1 - smoothing : 0);
      loss -= target * (row[k] - std::log(sum));
    }
  }
  return loss / global_batch;
}

}  // namespace ringlet::testing
