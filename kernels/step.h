#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/augment.h"
#include "kernels/loss.h"
#include "kernels/loss_scale.h"
#include "kernels/optim.h"

// What a training step does besides computing, on the GPU itself: so that the
// kernels of a step, recorded once, can be repeated without the host.
namespace ringlet::cuda {

// Where the run is, and what this step's kernels are told; in the GPU's memory.
struct StepState {
  std::uint64_t steps_done = 0;
  BatchPlace place{};
  SgdStep sgd{};
  LossScale loss_scale;
};

// What has become of a step, for the host.
struct StepRecord {
  CrossEntropyResult result;
  double gradient_norm;
  std::uint32_t skipped;
};

struct StepTables {
  const BatchPlace* places;  // of an epoch's steps
  std::uint32_t steps_per_epoch;
  const float* rates;  // of all steps of the run
};

// Sets place and sgd for the step that comes after `steps_done`.
void begin_step(const StepTables& tables, StepState* state);

struct StepVerdict {
  StepState* state;
  const CrossEntropyResult* result;
  const double* squares;  // of the gradients, summed
  bool scaled;            // whether the loss is
  float clip_norm;        // see clip_factor()
  StepRecord* records;    // of step s: records[s % record_count]
  std::uint32_t record_count;
};

// Before the optimizer: skips the step unless loss and gradients are finite,
// limits their norm, writes the step's record, and counts it.
void judge_step(const StepVerdict& verdict);

// Copies `words` of 8 bytes where the step was skipped.
void restore_if_skipped(const StepState* state, std::size_t words,
                        const void* before, void* now);

}  // namespace ringlet::cuda
