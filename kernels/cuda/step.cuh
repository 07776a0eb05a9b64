#pragma once

#include "kernels/cuda/pack.cuh"
#include "kernels/step.h"

namespace ringlet::cuda {

// Both by one thread.
__global__ void set_up_step(StepTables tables, StepState* state) {
  const unsigned long long step = state->steps_done;
  state->place = tables.places[step % tables.steps_per_epoch];
  state->sgd.lr = tables.rates[step];
  state->sgd.gradient_scale = 1 / state->loss_scale.value;
  state->sgd.skip = 0;
}

__global__ void decide_step(StepVerdict verdict) {
  StepState& state = *verdict.state;
  // Only infinities and NaNs give no zero.
  const bool finite = (verdict.result->loss - verdict.result->loss) == 0 &&
                      (*verdict.squares - *verdict.squares) == 0;
  StepRecord& record = verdict.records[state.steps_done % verdict.record_count];
  record.result = *verdict.result;
  record.gradient_norm = sqrt(*verdict.squares) * state.sgd.gradient_scale;
  state.sgd.gradient_scale *=
      clip_factor(record.gradient_norm, verdict.clip_norm);
  record.skipped = state.sgd.skip = finite ? 0 : 1;
  if (verdict.scaled) state.loss_scale.update(finite);
  ++state.steps_done;
}

__global__ void copy_if_skipped(const StepState* state, std::size_t words,
                                const unsigned long long* before,
                                unsigned long long* now) {
  if (state->sgd.skip == 0) return;
  for (std::size_t i = global_thread(); i < words; i += global_threads()) {
    now[i] = before[i];
  }
}

}  // namespace ringlet::cuda
