#include "kernels/norm.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <tuple>
#include <vector>

#include "kernels/cpu/families.h"
#include "kernels/cpu/tiles.h"
#include "kernels/runtime/buffer.h"

namespace ringlet::cpu {
namespace {

// Two sums per lane of a tile.
template <std::size_t B>
struct Sums {
  Vec<B> first{}, second{};
};

// The tile's mean and its sum of squares around that mean. The second walk
// finds the tile in cache.
template <std::size_t B, typename T>
Sums<B> mean_and_squares(const T* x, std::size_t pixels) {
  Vec<B> sum{};
  for (std::size_t p = 0; p < pixels; ++p) sum += load<B>(x + p * B);
  const Vec<B> mean = sum / static_cast<float>(pixels);
  Vec<B> squares{};
  for (std::size_t p = 0; p < pixels; ++p) {
    const Vec<B> d = load<B>(x + p * B) - mean;
    squares += d * d;
  }
  return {mean, squares};
}

// A tile's own view of per-channel arrays: lanes beyond the last channel read
// as zero, which keeps the padding of y and dx zero.
template <std::size_t B>
struct Lanes {
  std::size_t first, count;
  Vec<B> of(const float* per_channel) const {
    return load_part<B>(per_channel + first, count);
  }
};

// Results larger than this have left the caches when the next op reads them.
constexpr std::size_t kStreamedBytes = std::size_t{32} << 20;

// Stores past the caches where S is true; half lines do not go there.
template <std::size_t B, bool S, typename T>
void put(T* p, Vec<B> v) {
  if constexpr (S && sizeof(T) == sizeof(float)) {
    stream<B>(p, v);
  } else {
    store<B>(p, v);
  }
}

// Calls body<B, S>(tile) for each tile; S where so large an output streams.
template <typename Body>
void each_tile_streaming(const Tiles& tiles, const void* output,
                         const void* second_output, Body body) {
  const auto in_lines = [](const void* p) {
    return reinterpret_cast<std::uintptr_t>(p) % (16 * sizeof(float)) == 0;
  };
  const bool aligned = in_lines(output) && in_lines(second_output);
  const bool streams =
      aligned && tiles.offset(tiles.count()) * sizeof(float) > kStreamedBytes;
  tiles.each([&]<std::size_t B>(std::size_t t) {
    if (!streams) return body.template operator()<B, false>(t);
    body.template operator()<B, true>(t);
    fence_streams();
  });
}

template <typename T, std::size_t B, bool S>
void apply_tile(const BatchNormForward& args, Vec<B> scale, Vec<B> shift,
                std::size_t offset, std::size_t pixels) {
  const T* x = as<T>(args.x) + offset;
  T* y = as<T>(args.y) + offset;
  const T* residual = args.residual ? as<T>(args.residual) + offset : nullptr;
  std::uint8_t* mask = args.mask ? args.mask + offset / 8 : nullptr;
  for (std::size_t p = 0; p < pixels; ++p) {
    Vec<B> v = load<B>(x + p * B) * scale + shift;
    if (residual) v += load<B>(residual + p * B);
    if (mask) store_positive_bits<B>(mask + p * B / 8, v);
    put<B, S>(y + p * B, args.relu ? relu<B>(v) : v);
  }
}

template <std::size_t B>
Vec<B> through_relu(const std::uint8_t* mask, std::size_t i, Vec<B> dy) {
  return mask ? keep_where<B>(mask + i / 8, dy) : dy;
}

// Sums of dy and of dy * (x - mean) over a tile.
template <typename T, std::size_t B>
Sums<B> sums_of_tile(const BatchNormBackward& args, Vec<B> mean,
                     std::size_t offset, std::size_t pixels) {
  const T* x = as<T>(args.x);
  const T* dy = as<T>(args.dy);
  Sums<B> sums;
  for (std::size_t i = offset; i < offset + pixels * B; i += B) {
    const Vec<B> g = through_relu<B>(args.mask, i, load<B>(dy + i));
    sums.first += g;
    sums.second += g * (load<B>(x + i) - mean);
  }
  return sums;
}

// dx = scale (g - mean_g - (x - mean) slope)
template <typename T, std::size_t B, bool S>
void input_gradient(const BatchNormBackward& args, Vec<B> scale, Vec<B> mean,
                    Vec<B> mean_g, Vec<B> slope, std::size_t offset,
                    std::size_t pixels) {
  const T* x = as<T>(args.x);
  const T* dy = as<T>(args.dy);
  T* dx = as<T>(args.dx);
  T* dresidual = as<T>(args.dresidual);
  for (std::size_t i = offset; i < offset + pixels * B; i += B) {
    const Vec<B> g = through_relu<B>(args.mask, i, load<B>(dy + i));
    if (dresidual) put<B, S>(dresidual + i, g);
    const Vec<B> centred = load<B>(x + i) - mean;
    put<B, S>(dx + i, scale * (g - mean_g - centred * slope));
  }
}

class Norm final : public NormKernels {
 public:
  void statistics(const BatchNormStatistics& args) override {
    moments(args.shape, args.x, args.mean, args.inv_std);
    finish(args, static_cast<float>(args.shape.n * args.shape.pixels()));
  }

  void sums(const Activation& shape, const void* x, double* sums) override {
    std::vector<float> mean(shape.c), var(shape.c);
    moments(shape, x, mean.data(), var.data());
    const auto count = static_cast<double>(shape.n * shape.pixels());
    sums[0] = count;
    double* squares = sums + 1 + shape.c;
    for (std::size_t c = 0; c < shape.c; ++c) {
      const double centre = mean[c];
      sums[1 + c] = count * centre;
      squares[c] = count * (static_cast<double>(var[c]) + centre * centre);
    }
  }

  void statistics_of(const BatchNormStatistics& args,
                     const double* sums) override {
    const double count = sums[0];
    const double* squares = sums + 1 + args.shape.c;
    for (std::size_t c = 0; c < args.shape.c; ++c) {
      const double mean = sums[1 + c] / count;
      const double var = std::max(0.0, squares[c] / count - mean * mean);
      args.mean[c] = static_cast<float>(mean);
      args.inv_std[c] = static_cast<float>(var);
    }
    finish(args, static_cast<float>(count));
  }

  void inverse_std(std::size_t count, const float* var, float eps,
                   float* inv_std) override {
    for (std::size_t c = 0; c < count; ++c) {
      inv_std[c] = 1.0f / std::sqrt(var[c] + eps);
    }
  }

  // One bit per element in memory.
  std::size_t mask_bytes(const Activation& shape, bool) const override {
    return (shape.storage_count() + 7) / 8;
  }

  void apply(const BatchNormForward& args) override {
    const Tiles tiles(args.shape);
    with_element(args.shape.dtype, [&]<typename T>(T) {
      each_tile_streaming(
          tiles, args.y, nullptr, [&]<std::size_t B, bool S>(std::size_t t) {
            const Lanes<B> lanes{tiles.first_channel(t), tiles.channels(t)};
            const Vec<B> scale = lanes.of(args.gamma) * lanes.of(args.inv_std);
            const Vec<B> shift =
                lanes.of(args.beta) - lanes.of(args.mean) * scale;
            apply_tile<T, B, S>(args, scale, shift, tiles.offset(t),
                                tiles.pixels);
          });
    });
  }

  void gradient_sums(const BatchNormBackward& args, double* sums) override {
    const Tiles tiles(args.shape);
    with_element(args.shape.dtype, [&]<typename T>(T) {
      sum_tiles(tiles, [&]<std::size_t B>(std::size_t tile) {
        const Lanes<B> lanes{tiles.first_channel(tile), tiles.channels(tile)};
        return sums_of_tile<T, B>(args, lanes.of(args.mean), tiles.offset(tile),
                                  tiles.pixels);
      });
    });
    for (std::size_t c = 0; c < tiles.c; ++c) {
      const auto [sum_g, sum_gx] = total(tiles, c);
      args.dgamma[c] = static_cast<float>(sum_gx * args.inv_std[c]);
      args.dbeta[c] = static_cast<float>(sum_g);
      if (sums == nullptr) continue;
      sums[c] = args.dgamma[c];
      sums[tiles.c + c] = args.dbeta[c];
    }
  }

  void backward(const BatchNormBackward& args) override {
    const Tiles tiles(args.shape);
    const float* dgamma = args.dgamma;
    const float* dbeta = args.dbeta;
    auto count = static_cast<float>(tiles.n * tiles.pixels);
    std::vector<float> all;
    if (args.all_sums == nullptr) {
      gradient_sums(args, nullptr);
    } else {
      all.assign(args.all_sums, args.all_sums + 2 * tiles.c);
      dgamma = all.data();
      dbeta = dgamma + tiles.c;
      count = static_cast<float>(*args.all_count);
    }
    // How much of the sums goes back to each sample through the statistics.
    const float share = args.constant_statistics ? 0.0f : 1.0f / count;
    with_element(args.shape.dtype, [&]<typename T>(T) {
      each_tile_streaming(
          tiles, args.dx, args.dresidual,
          [&]<std::size_t B, bool S>(std::size_t t) {
            const Lanes<B> lanes{tiles.first_channel(t), tiles.channels(t)};
            const Vec<B> inv_std = lanes.of(args.inv_std);
            input_gradient<T, B, S>(
                args, lanes.of(args.gamma) * inv_std, lanes.of(args.mean),
                lanes.of(dbeta) * share, lanes.of(dgamma) * inv_std * share,
                tiles.offset(t), tiles.pixels);
          });
    });
  }

 private:
  // The mean and the biased variance.
  void moments(const Activation& shape, const void* x, float* mean,
               float* var) {
    const Tiles tiles(shape);
    with_element(shape.dtype, [&]<typename T>(T) {
      sum_tiles(tiles, [&]<std::size_t B>(std::size_t tile) {
        return mean_and_squares<B>(as<T>(x) + tiles.offset(tile), tiles.pixels);
      });
    });
#pragma omp parallel for
    for (std::size_t c = 0; c < tiles.c; ++c) {
      std::tie(mean[c], var[c]) = join_parts(tiles, c);
    }
  }

  // What follows from args.mean and from the variances in args.inv_std, of so
  // many samples.
  void finish(const BatchNormStatistics& args, float samples) {
    for (std::size_t c = 0; c < args.shape.c; ++c) {
      const float mean = args.mean[c], var = args.inv_std[c];
      const auto move = [&](float& running, float now) {
        running += args.momentum * (now - running);
      };
      move(args.running_mean[c], mean);
      move(args.running_var[c], var * (samples / (samples - 1)));
      inverse_std(1, &var, args.eps, args.inv_std + c);
    }
    if (args.batches != nullptr) ++*args.batches;
  }

  // parts_ = for each tile, B first sums, then B second ones.
  template <typename TileSums>
  void sum_tiles(const Tiles& tiles, TileSums tile_sums) {
    const std::size_t bytes = tiles.count() * 2 * tiles.block * sizeof(float);
    if (bytes > parts_.bytes()) parts_ = Buffer::allocate(bytes);
    tiles.each([&]<std::size_t B>(std::size_t t) {
      const Sums<B> sums = tile_sums.template operator()<B>(t);
      store<B>(parts() + t * 2 * B, sums.first);
      store<B>(parts() + t * 2 * B + B, sums.second);
    });
  }

  float* parts() const { return reinterpret_cast<float*>(parts_.data()); }

  // Calls visit(first, second) for channel c of each picture's tile.
  template <typename Visit>
  void each_part(const Tiles& tiles, std::size_t c, Visit visit) const {
    const std::size_t block = tiles.block;
    for (std::size_t n = 0; n < tiles.n; ++n) {
      const std::size_t tile = n * tiles.blocks + c / block;
      const float* part = parts() + tile * 2 * block + c % block;
      visit(static_cast<double>(part[0]), static_cast<double>(part[block]));
    }
  }

  std::pair<double, double> total(const Tiles& tiles, std::size_t c) const {
    double first = 0, second = 0;
    each_part(tiles, c, [&](double a, double b) {
      first += a;
      second += b;
    });
    return {first, second};
  }

  // Mean and variance. The pictures' parts have equal weight: the mean is the
  // mean of the means, and the squares around it are those around the parts'
  // own means plus what the means themselves scatter.
  std::pair<float, float> join_parts(const Tiles& tiles, std::size_t c) const {
    const auto pictures = static_cast<double>(tiles.n);
    const auto pixels = static_cast<double>(tiles.pixels);
    const auto [sum_of_means, squares] = total(tiles, c);
    const double centre = sum_of_means / pictures;
    double scatter = 0;
    each_part(tiles, c, [&](double part_mean, double) {
      scatter += (part_mean - centre) * (part_mean - centre);
    });
    const double var = (squares + scatter * pixels) / (pictures * pixels);
    return {static_cast<float>(centre), static_cast<float>(var)};
  }

  Buffer parts_;
};

}  // namespace

std::unique_ptr<NormKernels> make_norm() { return std::make_unique<Norm>(); }

}  // namespace ringlet::cpu
