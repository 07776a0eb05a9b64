#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "engine/autograd/ops.h"
#include "engine/autograd/variable.h"

namespace ringlet {

// A piece of a network: parameters (learned), buffers (kept: running
// statistics) and child modules, each under the name it has as a member, so
// that full names are torchvision's: "layer1.0.bn2.running_var".
class Module {
 public:
  Module() = default;
  virtual ~Module() = default;
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  virtual Variable forward(const Variable& x) = 0;

  // Training mode or evaluation, for this module and all below it.
  void train(bool on = true);
  void eval() { train(false); }
  bool training() const { return training_; }

  // In the order of PyTorch's state_dict: own ones first, then the children's.
  std::vector<Variable> parameters() const;  // with their full names
  // Parameters and buffers: what a file of weights holds.
  std::vector<std::pair<std::string, Tensor>> state() const;

  // Makes the batch norms of this module and all below it share their
  // statistics in training, see BatchNormState; null: no more.
  virtual void share_statistics(const SharedStatistics* shared);

  // Moves the parameters and buffers to that device, into the layout that its
  // kernels want.
  void to(Device device);

  // Puts the buffers of this module and all below it into one piece of memory,
  // each at a multiple of 8 bytes, with zeros between them.
  struct JoinedBuffers {
    Tensor all;     // as bytes
    Tensor floats;  // those of f32, which come first, as one vector
  };
  JoinedBuffers join_buffers();

  // Draws all parameters anew and resets the buffers; the same values for the
  // same seed on every rank.
  void initialize(std::uint64_t seed);

 protected:
  Variable add_parameter(const std::string& name, Shape shape);
  // `buffer`, a member of the module, is set to `value`.
  void add_buffer(const std::string& name, Tensor& buffer, Tensor value);
  void add_module(const std::string& name, Module& module);

  // Sets this module's own parameters and buffers; `stream` tells modules
  // apart in the random numbers. The default has none to set.
  virtual void reset(std::uint64_t seed, std::uint32_t stream);
  // Called after all below have been reset.
  virtual void after_initialize() {}

 private:
  template <typename Visit>
  void walk(const std::string& prefix, Visit& visit) const;
  void initialize(std::uint64_t seed, std::uint32_t& stream);

  bool training_ = true;
  std::vector<std::pair<std::string, Variable>> parameters_;
  std::vector<std::pair<std::string, Tensor*>> buffers_;
  std::vector<std::pair<std::string, Module*>> children_;
};

}  // namespace ringlet
