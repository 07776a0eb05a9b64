#pragma once

#include <functional>
#include <string>
#include <vector>

#include "engine/autograd/variable.h"

namespace ringlet {

// All parameters of a model in one flat piece of f32 memory, and their
// gradients in another, both in reverse order of definition: the order in
// which backward() completes them. A range of the gradients is a bucket that
// can be all-reduced in place; the optimizer is one pass over all of it.
// Plain and without padding: as many floats as parameters.
class ParameterArena {
 public:
  struct Slot {
    Variable parameter;
    std::size_t begin, count;  // in floats
  };
  using Allocate = std::function<Buffer(std::size_t bytes)>;

  // Moves the values of `parameters` (given in order of definition) into the
  // arena, and points their gradients there. `allocate_gradients` makes the
  // memory that is best to reduce.
  ParameterArena(
      const std::vector<Variable>& parameters,
      const Allocate& allocate_gradients = [](std::size_t bytes) {
        return Buffer::allocate(bytes);
      });

  const std::vector<Slot>& slots() const { return slots_; }
  std::size_t count() const { return count_; }
  float* values() const { return reinterpret_cast<float*>(values_.data()); }
  float* gradients() const {
    return reinterpret_cast<float*>(gradients_.data());
  }

  const Buffer& gradient_memory() const { return gradients_; }

  // Makes the next backward() overwrite all gradients.
  void zero_grad() const;

 private:
  std::vector<Slot> slots_;
  std::size_t count_ = 0;
  Buffer values_, gradients_;
};

}  // namespace ringlet
