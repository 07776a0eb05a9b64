#include "engine/optim/weight_average.h"

#include "kernels/backend.h"

namespace ringlet {

WeightAverage::WeightAverage(const ParameterArena& arena, const Tensor& buffers,
                             double decay)
    : arena_(arena), decay_(static_cast<float>(decay)) {
  for (const Tensor& values : {arena.flat_values(), buffers}) {
    parts_.push_back({values, values.clone()});
  }
}

void WeightAverage::start() const {
  for (const Part& part : parts_) part.average.copy_from(part.values);
}

void WeightAverage::update(const SgdStep* step) const {
  for (const Part& part : parts_) {
    backend(arena_.device())
        .optim.ema({.count = part.values.count(),
                    .values = part.values.data(),
                    .average = part.average.data(),
                    .decay = decay_,
                    .step = step});
  }
}

void WeightAverage::swap() const {
  for (const Part& part : parts_) {
    const Tensor values = part.values.clone();
    part.values.copy_from(part.average);
    part.average.copy_from(values);
  }
  arena_.update_half_copy();
}

WeightAverage::NamedState WeightAverage::state(NamedState state) const {
  for (auto& [name, tensor] : state) {
    const auto* place = static_cast<const std::byte*>(tensor.raw());
    for (const Part& part : parts_) {
      const auto* begin = static_cast<const std::byte*>(part.values.raw());
      if (place < begin || place >= begin + part.values.bytes()) continue;
      tensor = Tensor(tensor.shape(), tensor.dtype(), tensor.layout(),
                      part.average.buffer(),
                      static_cast<std::size_t>(place - begin));
      break;
    }
  }
  return state;
}

}  // namespace ringlet
