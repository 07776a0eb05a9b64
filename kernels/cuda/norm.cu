#include "kernels/cuda/context.h"
#include "kernels/cuda/families.h"
#include "kernels/cuda/norm.cuh"

namespace ringlet::cuda {
namespace {

const dim3 kTile(kTilePacks, kTileRows);

// How a matrix is cut into tiles of packs of P: enough blocks for four on each
// multiprocessor, unless their threads would have fewer than four rows each.
template <int P>
struct Tiling {
  Matrix matrix;
  dim3 grid;

  explicit Tiling(const Activation& shape)
      : matrix{shape.n * shape.pixels(), static_cast<int>(shape.c), 0} {
    constexpr unsigned kBlocksPerProcessor = 4;
    constexpr std::size_t kRowsPerThread = 4;
    constexpr std::size_t kColumn = kTilePacks * P;
    const std::size_t columns = (shape.c + kColumn - 1) / kColumn;
    const std::size_t most = (matrix.rows + kTileRows * kRowsPerThread) /
                             (kTileRows * kRowsPerThread);
    const std::size_t wanted = std::max<std::size_t>(
        1, kBlocksPerProcessor * multiprocessors() / columns);
    const std::size_t blocks = std::min(most, wanted);
    matrix.rows_per_block = (matrix.rows + blocks - 1) / blocks;
    grid = dim3(static_cast<unsigned>(columns), static_cast<unsigned>(blocks));
    if (columns > kCounters) {
      throw Error("batch norm of " + std::to_string(shape.c) +
                  " channels on CUDA: expected at most " +
                  std::to_string(kCounters * kColumn));
    }
  }

  std::size_t partial_count() const {
    return std::size_t{2} * grid.y * static_cast<std::size_t>(matrix.channels);
  }
};

// Calls body<T, P>() for the activation's type and the largest packs that fit.
template <typename Body>
void each_kind(const Activation& shape, const Body& body) {
  with_activation_type(shape.dtype, [&]<typename T>(T) {
    if (shape.c % kPack == 0) {
      body.template operator()<T, kPack>();
    } else {
      body.template operator()<T, 1>();
    }
  });
}

// Calls body<ReluKind, T, P>().
template <typename Body>
void each_backward_kind(const BatchNormBackward& args, const Body& body) {
  each_kind(args.shape, [&]<typename T, int P>() {
    if (!args.relu) {
      body.template operator()<ReluKind::kNone, T, P>();
    } else if (args.mask != nullptr) {
      body.template operator()<ReluKind::kByMask, T, P>();
    } else {
      body.template operator()<ReluKind::kBySign, T, P>();
    }
  });
}

class Norm final : public NormKernels {
 public:
  void statistics(const BatchNormStatistics& args) override {
    read_statistics(args.shape, args.x, output_of(args), nullptr);
  }

  void sums(const Activation& shape, const void* x, double* sums) override {
    read_statistics(shape, x, {}, sums);
  }

  void statistics_of(const BatchNormStatistics& args,
                     const double* sums) override {
    launch_for(args.shape.c, batch_norm_statistics_of, sums, output_of(args));
  }

  void inverse_std(std::size_t count, const float* var, float eps,
                   float* inv_std) override {
    launch_for(count, inverse_standard_deviation, var, eps, inv_std);
  }

  // Without a residual, the sign of what x becomes is as good as a mask.
  std::size_t mask_bytes(const Activation& shape,
                         bool has_residual) const override {
    if (!has_residual) return 0;
    const std::size_t count = shape.storage_count();
    return shape.c % kPack == 0 ? count / kPack : count;
  }

  void apply(const BatchNormForward& args) override {
    each_kind(args.shape, [&]<typename T, int P>() {
      const Tiling<P> tiling(args.shape);
      launch(batch_norm_apply<T, P>, tiling.grid, kTile, 0, stream(),
             tiling.matrix, static_cast<const T*>(args.x), args.gamma,
             args.beta, args.mean, args.inv_std,
             static_cast<const T*>(args.residual), args.relu,
             static_cast<T*>(args.y), args.mask);
    });
  }

  void gradient_sums(const BatchNormBackward& args, double* sums) override {
    each_backward_kind(args, [&]<ReluKind kRelu, typename T, int P>() {
      const Tiling<P> tiling(args.shape);
      float* partial = floats(tiling.partial_count());
      read_gradient<kRelu, T>(args, tiling, partial, nullptr, nullptr, sums);
    });
  }

  void backward(const BatchNormBackward& args) override {
    each_backward_kind(args, [&]<ReluKind kRelu, typename T, int P>() {
      const Tiling<P> tiling(args.shape);
      const std::size_t channels = args.shape.c;
      float* partial = floats(tiling.partial_count() + 2 * channels);
      float* mean_g = partial + tiling.partial_count();
      float* slope = mean_g + channels;
      if (args.all_sums == nullptr) {
        read_gradient<kRelu, T>(args, tiling, partial, mean_g, slope, nullptr);
      } else {
        launch_for(channels, batch_norm_gradient_of, args.all_sums,
                   args.all_count, args.inv_std, mean_g, slope);
      }
      launch(batch_norm_gradient<kRelu, T, P>, tiling.grid, kTile, 0, stream(),
             tiling.matrix, input_of<T>(args), mean_g, slope,
             static_cast<T*>(args.dx), static_cast<T*>(args.dresidual));
    });
  }

 private:
  // Into `out`, or into `sums` unless it is null.
  static void read_statistics(const Activation& shape, const void* x,
                              const StatisticsOutput& out, double* sums) {
    each_kind(shape, [&]<typename T, int P>() {
      const Tiling<P> tiling(shape);
      launch(batch_norm_statistics<T, P>, tiling.grid, kTile, 0, stream(),
             tiling.matrix, static_cast<const T*>(x),
             floats(tiling.partial_count()), counters(), out, sums);
    });
  }

  static StatisticsOutput output_of(const BatchNormStatistics& args) {
    return {args.eps,
            args.momentum,
            args.running_mean,
            args.running_var,
            reinterpret_cast<long long*>(args.batches),
            args.mean,
            args.inv_std};
  }

  // The first pass of backward.
  template <ReluKind kRelu, typename T, int P>
  static void read_gradient(const BatchNormBackward& args,
                            const Tiling<P>& tiling, float* partial,
                            float* mean_g, float* slope, double* sums) {
    launch(batch_norm_gradient_sums<kRelu, T, P>, tiling.grid, kTile, 0,
           stream(), tiling.matrix, input_of<T>(args), args.constant_statistics,
           partial, counters(), args.dgamma, args.dbeta, mean_g, slope, sums);
  }

  template <typename T>
  static BackwardInput<T> input_of(const BatchNormBackward& args) {
    return {static_cast<const T*>(args.x),
            static_cast<const T*>(args.dy),
            args.mask,
            args.gamma,
            args.beta,
            args.mean,
            args.inv_std};
  }

  // A thread for each of `count` channels.
  template <typename... Parameters, typename... Arguments>
  static void launch_for(std::size_t count, void (*kernel)(int, Parameters...),
                         Arguments... arguments) {
    constexpr unsigned kThreads = 128;
    const auto blocks =
        static_cast<unsigned>((count + kThreads - 1) / kThreads);
    launch(kernel, dim3(blocks), dim3(kThreads), 0, stream(),
           static_cast<int>(count), arguments...);
  }

  static float* floats(std::size_t count) {
    return static_cast<float*>(scratch(count * sizeof(float)));
  }
};

}  // namespace

std::unique_ptr<NormKernels> make_norm() { return std::make_unique<Norm>(); }

}  // namespace ringlet::cuda
