#include "collectives/gpu/gpu_order.h"

#include <utility>

namespace ringlet {
namespace {

class OrderedWork final : public Work::State {
 public:
  OrderedWork(Work host, std::shared_ptr<GpuOrder::Call> call)
      : host_(std::move(host)), call_(std::move(call)) {}

  void wait() override {
    host_.wait();
    call_->enqueue_wait();
  }
  bool done() const override { return host_.done(); }

 private:
  Work host_;
  std::shared_ptr<GpuOrder::Call> call_;
};

}  // namespace

GpuOrder::Call::Call(std::shared_ptr<GpuOrder> order)
    : order_(std::move(order)),
      begun_(cuda::library().make_event()),
      done_(cuda::library().make_event()) {
  begun_->record();
}

void GpuOrder::synchronize() {
  const cuda::OnStream use(*stream_);
  cuda::library().synchronize();
}

Work after(Work host, std::shared_ptr<GpuOrder::Call> call) {
  return Work(std::make_shared<OrderedWork>(std::move(host), std::move(call)));
}

}  // namespace ringlet
