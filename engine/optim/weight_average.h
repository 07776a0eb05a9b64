#pragma once

#include <string>
#include <utility>
#include <vector>

#include "engine/autograd/parameter_arena.h"
#include "kernels/optim.h"

namespace ringlet {

// An exponential moving average (EMA) of a model's parameters and of batch
// norm's running statistics, as timm's ModelEma keeps it: it starts as they
// are, and after each step becomes decay average + (1 - decay) value. It moves
// less than the weights do, and is what is evaluated and kept in their stead.
// Memory: once more that of both.
class WeightAverage {
 public:
  // Of the arena's parameters, which must outlive this, and of `buffers`, an
  // f32 vector.
  WeightAverage(const ParameterArena& arena, const Tensor& buffers,
                double decay);

  // Begins anew with what the model has.
  void start() const;

  // After the optimizer's step; nothing happens where `step`, on the device,
  // is to be skipped.
  void update(const SgdStep* step = nullptr) const;

  // Exchanges the averages and what the model has.
  void swap() const;

  // A view of the average in place of each tensor of a model's state that has
  // one: what a file of weights holds. Counts have none.
  using NamedState = std::vector<std::pair<std::string, Tensor>>;
  NamedState state(NamedState of_model) const;

 private:
  // Some floats of the model, and their average.
  struct Part {
    Tensor values, average;
  };

  const ParameterArena& arena_;
  float decay_;
  std::vector<Part> parts_;
};

}  // namespace ringlet
