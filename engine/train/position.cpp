#include "engine/train/position.h"

#include <nlohmann/json.hpp>

namespace ringlet {
namespace {

nlohmann::ordered_json to_json(const Meter& meter) {
  return {{"sum", meter.sum()}, {"samples", meter.samples()}};
}

Meter meter_from_json(const nlohmann::ordered_json& json) {
  return {json.at("sum"), json.at("samples")};
}

}  // namespace

nlohmann::ordered_json to_json(const TrainPosition& position) {
  return {{"steps_done", position.steps_done},
          {"loss", to_json(position.loss)},
          {"accuracy", to_json(position.accuracy)},
          {"epoch_seconds", position.epoch_seconds},
          {"skipped", position.skipped},
          {"skipped_in_a_row", position.skipped_in_a_row},
          {"loss_scale",
           {{"value", position.loss_scale.value},
            {"good_steps", position.loss_scale.good_steps}}}};
}

TrainPosition position_from_json(const nlohmann::ordered_json& json) {
  TrainPosition position{.steps_done = json.at("steps_done"),
                         .loss = meter_from_json(json.at("loss")),
                         .accuracy = meter_from_json(json.at("accuracy")),
                         .epoch_seconds = json.at("epoch_seconds"),
                         .skipped = json.at("skipped"),
                         .skipped_in_a_row = json.at("skipped_in_a_row"),
                         .loss_scale = {}};
  // Earlier versions had none.
  if (const auto scale = json.find("loss_scale"); scale != json.end()) {
    position.loss_scale = {scale->at("value"), scale->at("good_steps")};
  }
  return position;
}

}  // namespace ringlet
