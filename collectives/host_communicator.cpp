#include "collectives/host_communicator.h"

#include <fmt/format.h>

#include <utility>

#include "collectives/ledger.h"
#include "collectives/recorder.h"

namespace ringlet {

HostCommunicator::HostCommunicator(std::unique_ptr<HostCollectives> collectives)
    : collectives_(std::move(collectives)),
      progress_([back_end = collectives_.get()](bool urgent) {
        back_end->set_urgent(urgent);
      }) {
  if (Recorder* recorder = collectives_->recorder()) {
    recorder->add(*collectives_->measure_clock());
  }
}

HostCommunicator::~HostCommunicator() {
  if (!unwinding_) {
    finish();
    return;
  }
  if (collectives_->cancel()) return;
  // What the abandoned thread uses lives on.
  for (const Buffer& buffer : allocated_) buffer.keep();
  progress_.abandon();
  collectives_.release();
}

// What goes wrong here, those say that went on: a rank with a call left finds
// that it is alone with it.
void HostCommunicator::finish() noexcept {
  try {
    progress_.run([&] {
      if (gpu_) gpu_->synchronize();
      collectives_->finish();
    });
  } catch (const std::exception&) {
  }
}

void HostCommunicator::keep_calls(const std::string& run) {
  progress_.run([&] { collectives_->keep_calls(run); });
}

void HostCommunicator::set_training_step(std::int64_t step) {
  collectives_->set_training_step(step);
  if (Recorder* recorder = collectives_->recorder()) {
    recorder->set_training_step(step);
  }
}

Buffer HostCommunicator::allocate(std::size_t bytes) {
  progress_.run([&] { allocated_.push_back(collectives_->allocate(bytes)); });
  return allocated_.back();
}

void HostCommunicator::check(const Collective& call) const {
  check_call(call, size());
  if (takes(call.device)) return;
  throw Error(
      fmt::format("{} takes no arrays on a GPU: {}", name(), describe(call)));
}

std::shared_ptr<GpuOrder> HostCommunicator::order_on_gpu() {
  if (!gpu_) gpu_ = std::make_shared<GpuOrder>();
  return gpu_;
}

void HostCommunicator::run(const Collective& call) {
  check(call);
  if (call.device == Device::kCuda) {
    GpuOrder::Call ordered(order_on_gpu());
    progress_.run([&] { ordered.run([&] { collectives_->run(call); }); });
    return ordered.enqueue_wait();
  }
  progress_.run([&] { collectives_->run(call); });
}

Work HostCommunicator::start(const Collective& call) {
  check(call);
  Collective started = call;
  started.overlapped = true;
  HostCollectives* back_end = collectives_.get();
  if (call.device == Device::kCuda) {
    const auto ordered = std::make_shared<GpuOrder::Call>(order_on_gpu());
    return after(progress_.submit(
                     [=] { ordered->run([&] { back_end->run(started); }); }),
                 ordered);
  }
  return progress_.submit([=] { back_end->run(started); });
}

void HostCommunicator::clear_ledger() {
  if (Ledger* ledger = collectives_->ledger()) ledger->clear();
}

std::optional<ClockReading> HostCommunicator::measure_clock() {
  std::optional<ClockReading> reading;
  progress_.run([&] { reading = collectives_->measure_clock(); });
  return reading;
}

}  // namespace ringlet
