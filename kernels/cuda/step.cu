#include "kernels/cuda/context.h"
#include "kernels/cuda/step.cuh"

namespace ringlet::cuda {

void begin_step(const StepTables& tables, StepState* state) {
  launch(set_up_step, dim3(1), dim3(1), 0, stream(), tables, state);
}

void judge_step(const StepVerdict& verdict) {
  launch(decide_step, dim3(1), dim3(1), 0, stream(), verdict);
}

void restore_if_skipped(const StepState* state, std::size_t words,
                        const void* before, void* now) {
  constexpr unsigned kThreads = 256;
  launch(copy_if_skipped, dim3(blocks_for(words, kThreads)), dim3(kThreads), 0,
         stream(), state, words, static_cast<const unsigned long long*>(before),
         static_cast<unsigned long long*>(now));
}

}  // namespace ringlet::cuda
