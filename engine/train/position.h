#pragma once

#include <cstddef>
#include <nlohmann/json_fwd.hpp>

#include "engine/metrics/meter.h"
#include "kernels/loss_scale.h"

namespace ringlet {

// How far a run has come: what a checkpoint keeps beside tensors and options.
// The place in the data follows from the steps, since the order of pictures is
// arithmetic.
struct TrainPosition {
  std::size_t steps_done = 0;
  Meter loss, accuracy;      // of the epoch that has begun
  double epoch_seconds = 0;  // spent on its steps
  std::size_t skipped = 0;   // steps whose loss or gradient was not finite
  std::size_t skipped_in_a_row = 0;
  LossScale loss_scale;  // of f16
};

nlohmann::ordered_json to_json(const TrainPosition& position);
// Throws nlohmann::json::exception where something is missing.
TrainPosition position_from_json(const nlohmann::ordered_json& json);

}  // namespace ringlet
