#pragma once

#include <functional>
#include <string>
#include <vector>

#include "engine/autograd/variable.h"

namespace ringlet {

struct ParameterArenaOptions {
  // Makes the memory that is best to reduce, on the parameters' device; null:
  // any memory.
  std::function<Buffer(std::size_t bytes)> allocate_gradients = nullptr;
  // f16 or bf16: the type that convolutions and linear layers compute in, in
  // which they find a copy of their weights.
  Dtype dtype = Dtype::kF32;
};

// All parameters of a model in one flat piece of f32 memory, and their
// gradients in another, both in reverse order of definition: the order in
// which backward() completes them. A range of the gradients is a bucket that
// can be all-reduced in place; the optimizer is one pass over all of it.
// On the CPU without padding: as many floats as parameters. On CUDA each begins
// at a multiple of 64 floats, and what lies between is zero.
class ParameterArena {
 public:
  struct Slot {
    Variable parameter;
    std::size_t begin, count;  // in floats
  };

  // Moves the values of `parameters` (given in order of definition, all on one
  // device) into the arena, and points their gradients there.
  explicit ParameterArena(const std::vector<Variable>& parameters,
                          const ParameterArenaOptions& options = {});

  const std::vector<Slot>& slots() const { return slots_; }
  std::size_t count() const { return count_; }  // with what lies between them
  std::size_t parameter_count() const;
  float* values() const { return reinterpret_cast<float*>(values_.data()); }
  float* gradients() const {
    return reinterpret_cast<float*>(gradients_.data());
  }

  // All values as one vector.
  Tensor flat_values() const {
    return Tensor({static_cast<std::int64_t>(count_)}, Dtype::kF32,
                  Layout::kPlain, values_, 0);
  }
  const Buffer& gradient_memory() const { return gradients_; }
  Device device() const { return values_.device(); }

  // The copy of all values in half precision, null where there is none; who
  // changes the values writes that too, or calls update_half_copy().
  void* half_copy() const { return half_.data(); }
  Dtype half_dtype() const { return half_dtype_; }
  void update_half_copy() const;

  // The part of an array in the arena's order that belongs to a parameter, of
  // its shape and layout.
  Tensor view(const Slot& slot, const Buffer& memory,
              Dtype dtype = Dtype::kF32) const;

  // Makes the next backward() overwrite all gradients.
  void zero_grad() const;

 private:
  std::vector<Slot> slots_;
  std::size_t count_ = 0;
  Buffer values_, gradients_, half_;
  Dtype half_dtype_ = Dtype::kF32;
};

}  // namespace ringlet
