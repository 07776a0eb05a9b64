#pragma once

#include "kernels/cuda/pack.cuh"
#include "kernels/loss.h"

namespace ringlet::cuda {

constexpr int kLossWarps = 32;  // of the one block

// One warp per sample, and one block for all of them: some thousands of rows of
// ten logits are read in microseconds, and the sums need no second kernel. Sums
// are taken in the order of the samples that a warp had, then of the warps.
template <typename T>
__global__ void __launch_bounds__(kLossWarps * 32)
    softmax_cross_entropy(int n, int classes, const T* logits,
                          const int* labels, const int* other_labels,
                          const float* share_of_label, float smoothing,
                          float scale, const float* gradient_scale, T* dlogits,
                          CrossEntropyResult* result) {
  SHARED(double, losses, [kLossWarps]);
  SHARED(int, rights, [kLossWarps]);
  SHARED(int, bad_labels, [kLossWarps]);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const float factor =
      scale * (gradient_scale == nullptr ? 1.0f : *gradient_scale);
  const float elsewhere = smoothing / static_cast<float>(classes);
  const float share = other_labels == nullptr ? 1.0f : *share_of_label;
  double loss = 0;
  int right = 0, bad_label = n;
  for (int sample = warp; sample < n; sample += kLossWarps) {
    const T* row =
        logits + std::size_t{static_cast<unsigned>(sample)} * classes;
    const int label = labels[sample];
    const int second = other_labels == nullptr ? label : other_labels[sample];
    if (min(label, second) < 0 || max(label, second) >= classes) {
      bad_label = min(bad_label, sample);
      loss += static_cast<double>(NAN);
      continue;
    }
    // The largest logit, its first place, and the sum of all.
    float largest = -INFINITY, sum = 0;
    int place = classes;
    for (int k = lane; k < classes; k += 32) {
      const float z = to_float(row[k]);
      sum += z;
      if (z > largest) {
        largest = z;
        place = k;
      }
    }
#pragma unroll
    for (int bits = 16; bits > 0; bits /= 2) {
      const float other = __shfl_xor_sync(0xffffffffu, largest, bits);
      const int other_place = __shfl_xor_sync(0xffffffffu, place, bits);
      if (other > largest || (other == largest && other_place < place)) {
        largest = other;
        place = other_place;
      }
    }
    sum = warp_sum(sum);
    float exponentials = 0;
    for (int k = lane; k < classes; k += 32) {
      exponentials += expf(to_float(row[k]) - largest);
    }
    exponentials = warp_sum(exponentials);
    if (dlogits != nullptr) {
      T* gradient =
          dlogits + std::size_t{static_cast<unsigned>(sample)} * classes;
      for (int k = lane; k < classes; k += 32) {
        const float softmax = expf(to_float(row[k]) - largest) / exponentials;
        const float hot =
            (k == label ? share : 0.0f) + (k == second ? 1 - share : 0.0f);
        const float target = elsewhere + (1 - smoothing) * hot;
        gradient[k] = from_float<T>((softmax - target) * factor);
      }
    }
    const float expected =
        (1 - smoothing) * (share * (to_float(row[label]) - largest) +
                           (1 - share) * (to_float(row[second]) - largest)) +
        elsewhere * (sum - static_cast<float>(classes) * largest);
    loss += static_cast<double>(logf(exponentials) - expected);
    right += place == label;
  }
  if (lane == 0) {
    losses[warp] = loss;
    rights[warp] = right;
    bad_labels[warp] = bad_label;
  }
  __syncthreads();
  if (threadIdx.x > 0) return;
  for (int i = 1; i < kLossWarps; ++i) {
    loss += losses[i];
    right += rights[i];
    bad_label = min(bad_label, bad_labels[i]);
  }
  result->loss = loss * static_cast<double>(scale);
  result->correct = right;
  result->bad_label = bad_label == n ? -1 : bad_label;
}

}  // namespace ringlet::cuda
