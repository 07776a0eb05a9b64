#include "engine/autograd/variable.h"

#include <algorithm>
#include <unordered_set>

#include "kernels/backend.h"
#include "kernels/runtime/check.h"

namespace ringlet {
namespace {
thread_local bool t_grad_enabled = true;
}  // namespace

struct Variable::Impl {
  Impl(const Tensor& value, bool wants_grad)
      : shape(value.shape()),
        dtype(value.dtype()),
        layout(value.layout()),
        device(value.device()),
        requires_grad(wants_grad) {}

  // The value's, and so the gradient's.
  Shape shape;
  Dtype dtype;
  Layout layout;
  Device device;
  bool requires_grad;
  std::shared_ptr<Node> node;
  std::string name;
  Tensor half_copy;
  Tensor grad;
  Tensor grad_memory;
  // Another variable's gradient may lie in the same memory, so that adding in
  // place would change both.
  bool grad_shared = false;
  // grad_memory is being written to; a second gradient needs another place.
  bool memory_lent = false;
  Hook hook;
  // Gradients that the running backward() has still to deliver.
  std::size_t pending = 0;

  void set_gradient(const Tensor& gradient, bool shared) {
    if (grad_memory.defined() && gradient.raw() != grad_memory.raw()) {
      grad_memory.copy_from(gradient);
      grad = grad_memory;
      grad_shared = false;
      return;
    }
    grad = gradient;
    grad_shared = shared;
  }

  void add_gradient(const Tensor& gradient) {
    const Tensor sum =
        grad_shared ? Tensor(shape, dtype, layout, device) : grad;
    backend(grad.device())
        .elementwise.add(grad.storage_count(), grad.dtype(), grad.raw(),
                         gradient.raw(), sum.raw());
    grad = sum;
    grad_shared = false;
  }
};

Variable::Variable(Tensor data, bool requires_grad)
    : impl_(std::make_shared<Impl>(data, requires_grad)),
      value_(std::make_shared<Tensor>(std::move(data))) {}

Variable::Variable(Tensor data, std::shared_ptr<Node> node)
    : Variable(std::move(data), true) {
  impl_->node = std::move(node);
}

bool Variable::requires_grad() const { return impl_->requires_grad; }
const std::shared_ptr<Node>& Variable::node() const { return impl_->node; }
const Tensor& Variable::data() const {
  RINGLET_CHECK(value_ != nullptr, "'{}' was kept without its value", name());
  return *value_;
}
Variable Variable::without_value() const {
  Variable copy = *this;
  copy.value_ = nullptr;
  return copy;
}
const std::string& Variable::name() const { return impl_->name; }
void Variable::set_name(std::string name) const {
  impl_->name = std::move(name);
}

void Variable::set_data(Tensor data) const {
  data.copy_from(*value_);
  impl_->layout = data.layout();
  impl_->device = data.device();
  *value_ = std::move(data);
}

const Tensor& Variable::data_as(Dtype dtype) const {
  if (dtype == data().dtype()) return data();
  RINGLET_CHECK(impl_->half_copy.defined() && impl_->half_copy.dtype() == dtype,
                "'{}' has no copy in {}", name(), name_of(dtype));
  return impl_->half_copy;
}
void Variable::set_half_copy(Tensor copy) const {
  impl_->half_copy = std::move(copy);
}

const Tensor& Variable::grad() const {
  RINGLET_CHECK(has_grad(), "'{}' has no gradient yet", name());
  return impl_->grad;
}
bool Variable::has_grad() const { return impl_->grad.defined(); }
void Variable::set_grad_memory(Tensor memory) const {
  RINGLET_CHECK(memory.shape() == data().shape(),
                "gradient memory {} for a parameter {}",
                to_string(memory.shape()), to_string(data().shape()));
  impl_->grad_memory = std::move(memory);
}
void Variable::zero_grad() const { impl_->grad = Tensor(); }
void Variable::set_grad_hook(Hook hook) const { impl_->hook = std::move(hook); }

GradSink::GradSink(const Variable& variable)
    : variable_(variable),
      wanted_(variable.defined() && variable.requires_grad()) {}

const Tensor& GradSink::memory() {
  if (memory_.defined()) return memory_;
  Variable::Impl& impl = *variable_.impl_;
  const bool own =
      !impl.grad.defined() && impl.grad_memory.defined() && !impl.memory_lent;
  if (own) impl.memory_lent = true;
  memory_ = own ? impl.grad_memory
                : Tensor(impl.shape, impl.dtype, impl.layout, impl.device);
  return memory_;
}

void GradSink::share(Tensor gradient) {
  memory_ = std::move(gradient);
  shared_ = true;
}

void GradSink::deliver() {
  if (!wanted_) return;
  Variable::Impl& impl = *variable_.impl_;
  memory();
  impl.memory_lent = false;
  if (impl.grad.defined()) {
    impl.add_gradient(memory());
  } else {
    impl.set_gradient(memory(), shared_);
  }
  --impl.pending;
  if (impl.pending == 0 && impl.hook) impl.hook(variable_);
}

Variable make_result(const char* op, Tensor data, std::vector<Variable> inputs,
                     Node::Backward run) {
  if (!records_gradient(inputs)) return Variable(std::move(data));
  for (Variable& input : inputs) input = input.without_value();
  return Variable(std::move(data), std::make_shared<Node>(Node{
                                       op, std::move(inputs), std::move(run)}));
}

bool records_gradient(const std::vector<Variable>& inputs) {
  return t_grad_enabled &&
         std::any_of(inputs.begin(), inputs.end(), [](const Variable& input) {
           return input.defined() && input.requires_grad();
         });
}

void backward(const Variable& loss) {
  RINGLET_CHECK(loss.node() != nullptr && loss.data().count() == 1,
                "backward() of a {} that records no gradient or is no scalar",
                to_string(loss.data().shape()));
  std::vector<Variable> order = Variable::graph_order(loss);
  loss.impl_->grad = Tensor::of(loss.data().shape(), {1.0f});
  while (!order.empty()) {
    const Variable output = std::move(order.back());
    order.pop_back();
    Node& node = *output.node();
    RINGLET_CHECK(output.impl_->pending == 0 && output.has_grad(),
                  "backward() of {}: {} gradients were not delivered", node.op,
                  output.impl_->pending);
    RINGLET_CHECK(node.run != nullptr,
                  "backward() through {} a second time: what it had saved is "
                  "gone",
                  node.op);
    node.run(output.grad());
    // What the op saved, and this gradient, are not needed any more.
    node.run = nullptr;
    node.inputs.clear();
    output.zero_grad();
  }
}

// Depth first, children before parents, without recursion: deep networks
// would need a deep stack.
std::vector<Variable> Variable::graph_order(const Variable& loss) {
  struct Frame {
    Variable variable;
    std::size_t next_input = 0;
  };
  std::vector<Variable> order;
  std::unordered_set<const Impl*> seen{loss.impl_.get()};
  std::vector<Frame> stack{{loss}};
  while (!stack.empty()) {
    Frame& frame = stack.back();
    const std::vector<Variable>& inputs = frame.variable.node()->inputs;
    if (frame.next_input == inputs.size()) {
      order.push_back(frame.variable);
      stack.pop_back();
      continue;
    }
    const Variable& input = inputs[frame.next_input++];
    if (!input.defined() || !input.requires_grad()) continue;
    const bool first_visit = seen.insert(input.impl_.get()).second;
    if (first_visit) input.impl_->pending = 0;
    ++input.impl_->pending;
    if (first_visit && input.node()) stack.push_back({input});
  }
  return order;
}

NoGradGuard::NoGradGuard() : before_(t_grad_enabled) { t_grad_enabled = false; }
NoGradGuard::~NoGradGuard() { t_grad_enabled = before_; }

}  // namespace ringlet
