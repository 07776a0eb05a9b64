#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/tensor/tensor.h"

namespace ringlet {

struct Node;

// A Tensor that takes part in differentiation. Copies are the same variable.
// Leaves (parameters) own a gradient that backward() fills; what an op returns
// also knows the Node that computes its inputs' gradients.
class Variable {
 public:
  Variable() = default;
  explicit Variable(Tensor data, bool requires_grad = false);
  // The output of an op.
  Variable(Tensor data, std::shared_ptr<Node> node);

  bool defined() const { return impl_ != nullptr; }
  bool requires_grad() const;
  const std::shared_ptr<Node>& node() const;

  const Tensor& data() const;
  // Puts the value into other memory (an arena, another device); shape and type
  // stay.
  void set_data(Tensor data) const;

  // The value in the type that an op computes in: f32, or the copy that
  // somebody keeps in that type. Throws where there is none.
  const Tensor& data_as(Dtype dtype) const;
  // Keeps a copy of the value in half precision; who changes the value writes
  // that too.
  void set_half_copy(Tensor copy) const;

  // The same variable without its value, whose memory this copy does not keep:
  // for a backward that must only know where the gradient goes.
  Variable without_value() const;

  const std::string& name() const;
  void set_name(std::string name) const;

  // The gradient of the last backward(); throws before the first.
  const Tensor& grad() const;
  bool has_grad() const;
  // Gives the memory into which each backward() writes this leaf's gradient.
  void set_grad_memory(Tensor memory) const;
  // Forgets the gradient: the next backward() overwrites, not adds.
  void zero_grad() const;

  // Called by backward() on this thread as soon as this leaf's gradient is
  // complete, while the gradients of earlier layers are still to come.
  using Hook = std::function<void(const Variable&)>;
  void set_grad_hook(Hook hook) const;

 private:
  friend class GradSink;
  friend void backward(const Variable& loss);
  // The results of ops below `loss`, each after all it was made from.
  static std::vector<Variable> graph_order(const Variable& loss);

  struct Impl;
  std::shared_ptr<Impl> impl_;
  std::shared_ptr<Tensor> value_;
};

// Where an op's backward puts the gradient of one of its inputs.
//
//   GradSink dx(x);
//   if (dx.wanted()) kernel(..., dx.memory().data());   // overwrites
//   dx.deliver();
//
// The first gradient of a variable is written straight into its own memory; a
// further one goes to a temporary and is added by deliver().
class GradSink {
 public:
  explicit GradSink(const Variable& variable);

  // False where the input takes no gradient; deliver() then does nothing.
  bool wanted() const { return wanted_; }
  // Where to write: the variable's own gradient memory, or a temporary.
  const Tensor& memory();
  // Uses `gradient`, which other sinks may share, instead of memory().
  void share(Tensor gradient);
  // Hands the gradient over; fires the variable's hook with its last one.
  void deliver();

 private:
  Variable variable_;
  bool wanted_;
  bool shared_ = false;
  Tensor memory_;
};

// One op in the graph: its inputs and how their gradients follow from the
// gradient of its output.
struct Node {
  using Backward = std::function<void(const Tensor& grad_output)>;

  const char* op;
  std::vector<Variable>
      inputs;    // without their values: `run` has what it reads
  Backward run;  // dropped, with all it saved, once it has run
};

// Makes an op's result: with a Node where gradients are on and any input wants
// one, without otherwise.
Variable make_result(const char* op, Tensor data, std::vector<Variable> inputs,
                     Node::Backward run);

// True when make_result would record: lets an op skip what only its backward
// needs.
bool records_gradient(const std::vector<Variable>& inputs);

// Reverse-mode differentiation of a scalar, seeded with 1 (a f32 on the CPU,
// whatever the loss is). Walks the graph
// from `loss` in reverse topological order; fires each leaf's hook when its
// gradient is complete; frees saved tensors on the way. A leaf that already
// has a gradient gets the new one added.
void backward(const Variable& loss);

// Turns recording by ops on this thread off for a scope: evaluation.
class NoGradGuard {
 public:
  NoGradGuard();
  ~NoGradGuard();
  NoGradGuard(const NoGradGuard&) = delete;
  NoGradGuard& operator=(const NoGradGuard&) = delete;

 private:
  bool before_;
};

}  // namespace ringlet
