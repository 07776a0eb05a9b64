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
    return std::size_t{2} * grid.y * shape_channels();
  }
  std::size_t shape_channels() const {
    return static_cast<std::size_t>(matrix.channels);
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

template <typename Body>
void each_relu_kind(bool relu, bool masked, const Body& body) {
  if (!relu) {
    body.template operator()<ReluKind::kNone>();
  } else if (masked) {
    body.template operator()<ReluKind::kByMask>();
  } else {
    body.template operator()<ReluKind::kBySign>();
  }
}

class Norm final : public NormKernels {
 public:
  void statistics(const BatchNormStatistics& args) override {
    each_kind(args.shape, [&]<typename T, int P>() {
      const Tiling<P> tiling(args.shape);
      const StatisticsOutput out{args.eps,
                                 args.momentum,
                                 args.running_mean,
                                 args.running_var,
                                 reinterpret_cast<long long*>(args.batches),
                                 args.mean,
                                 args.inv_std};
      launch(batch_norm_statistics<T, P>, tiling.grid, kTile, 0, stream(),
             tiling.matrix, static_cast<const T*>(args.x),
             floats(tiling.partial_count()), counters(), out);
    });
  }

  void moments(const Activation&, const void*, float*, float*) override {
    throw Error("the moments of an activation: not on a GPU");
  }

  void gradient_sums(const BatchNormBackward&) override {
    throw Error("the gradient's sums of a batch norm: not on a GPU");
  }

  void inverse_std(std::size_t count, const float* var, float eps,
                   float* inv_std) override {
    constexpr unsigned kThreads = 128;
    const auto blocks =
        static_cast<unsigned>((count + kThreads - 1) / kThreads);
    launch(inverse_standard_deviation, dim3(blocks), dim3(kThreads), 0,
           stream(), static_cast<int>(count), var, eps, inv_std);
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

  void backward(const BatchNormBackward& args) override {
    each_kind(args.shape, [&]<typename T, int P>() {
      each_relu_kind(args.relu, args.mask != nullptr, [&]<ReluKind kRelu>() {
        const Tiling<P> tiling(args.shape);
        const std::size_t channels = tiling.shape_channels();
        float* partial = floats(tiling.partial_count() + 2 * channels);
        float* mean_g = partial + tiling.partial_count();
        float* slope = mean_g + channels;
        const BackwardInput<T> in{static_cast<const T*>(args.x),
                                  static_cast<const T*>(args.dy),
                                  args.mask,
                                  args.gamma,
                                  args.beta,
                                  args.mean,
                                  args.inv_std};
        launch(batch_norm_gradient_sums<kRelu, T, P>, tiling.grid, kTile, 0,
               stream(), tiling.matrix, in, args.constant_statistics, partial,
               counters(), args.dgamma, args.dbeta, mean_g, slope);
        launch(batch_norm_gradient<kRelu, T, P>, tiling.grid, kTile, 0,
               stream(), tiling.matrix, in, mean_g, slope,
               static_cast<T*>(args.dx), static_cast<T*>(args.dresidual));
      });
    });
  }

 private:
  static float* floats(std::size_t count) {
    return static_cast<float*>(scratch(count * sizeof(float)));
  }
};

}  // namespace

std::unique_ptr<NormKernels> make_norm() { return std::make_unique<Norm>(); }

}  // namespace ringlet::cuda
