#include "kernels/cuda/augment.cuh"
#include "kernels/cuda/context.h"
#include "kernels/cuda/families.h"

namespace ringlet::cuda {

void augment(const AugmentBatch& batch) {
  constexpr unsigned kThreads = 256;
  const AugmentParams& params = batch.params;
  PixelScale pixel_scale;
  for (std::size_t c = 0; c < params.mean.size(); ++c) {
    pixel_scale.scale[c] = 1 / (255 * params.std[c]);
    pixel_scale.offset[c] = -params.mean[c] / params.std[c];
  }
  const std::size_t pixels = batch.count * params.height * params.width;
  if (pixels == 0) return;
  with_activation_type(batch.dtype, [&]<typename T>(T) {
    launch(augment_batch<T>, dim3(blocks_for(pixels, kThreads)), dim3(kThreads),
           0, stream(), batch, pixel_scale, static_cast<T*>(batch.y));
  });
}

}  // namespace ringlet::cuda
