#include "engine/train/recorded_steps.h"

#include <new>

#include "engine/autograd/ops.h"
#include "engine/optim/schedule.h"

namespace ringlet {
namespace {

Buffer rates_of(const TrainPlan& plan) {
  std::vector<float> rates;
  for (std::size_t step = 0; step < plan.total_steps; ++step) {
    rates.push_back(static_cast<float>(learning_rate(plan.schedule, step)));
  }
  const std::size_t bytes = rates.size() * sizeof(float);
  const Buffer buffer = Buffer::allocate(bytes, Device::kCuda);
  copy_memory(buffer.data(), Device::kCuda, rates.data(), Device::kCpu, bytes);
  return buffer;
}

}  // namespace

RecordedSteps::RecordedSteps(const Parts& parts)
    : parts_(parts),
      rates_(rates_of(parts.plan)),
      device_(Buffer::allocate(sizeof(Exchange), Device::kCuda)),
      pinned_(Buffer::allocate_pinned(sizeof(Exchange))) {
  new (pinned_.data()) Exchange();
  const DevicePool::Use use(parts_.pool);
  parts_.parallel.reducer().agree_on_calls();
  step_.emplace([&] { one_step(); });
}

void RecordedSteps::one_step() const {
  cuda::Library& gpu = cuda::library();
  constexpr std::size_t kWholeBatch = 0;
  const bool scaled = parts_.compute.dtype == Dtype::kF16;
  cuda::StepState* state = &device()->state;
  gpu.begin_step({.places = parts_.loader.places(),
                  .steps_per_epoch =
                      static_cast<std::uint32_t>(parts_.plan.steps_per_epoch),
                  .rates = reinterpret_cast<const float*>(rates_.data())},
                 state);
  const Tensor& buffers = parts_.parallel.buffers();
  parts_.buffers_before.copy_from(buffers);
  const Batch batch = parts_.loader.batch_at(
      &state->place, parts_.loader.pictures_of(kWholeBatch));
  parts_.parallel.start_step();
  const Variable logits = parts_.model.forward(Variable(batch.images));
  const CrossEntropyOutput out = cross_entropy(
      logits, batch.labels,
      {.label_smoothing = static_cast<float>(parts_.options.label_smoothing),
       .global_batch = parts_.plan.global_batch,
       .gradient_scale = scaled ? &state->loss_scale.value : nullptr});
  backward(out.loss);
  parts_.parallel.finalize();
  auto* result = reinterpret_cast<CrossEntropyResult*>(out.result.data());
  Communicator& ranks = parts_.parallel.reducer();
  ranks.all_reduce(&result->loss, 1, Dtype::kF64, ReduceOp::kSum);
  ranks.all_reduce(&result->correct, 1, Dtype::kI64, ReduceOp::kSum);
  gpu.judge_step({.state = state,
                  .result = result,
                  .squares = parts_.parallel.sum_squares().data<double>(),
                  .scaled = scaled,
                  .records = device()->records,
                  .record_count = kMost});
  parts_.optimizer.step(&state->sgd);
  gpu.restore_if_skipped(state, buffers.bytes() / sizeof(std::uint64_t),
                         parts_.buffers_before.raw(), buffers.raw());
}

std::vector<cuda::StepRecord> RecordedSteps::run(TrainPosition& position,
                                                 std::size_t count) {
  cuda::Library& gpu = cuda::library();
  auto& exchange = *reinterpret_cast<Exchange*>(pinned_.data());
  exchange.state = {.steps_done = position.steps_done,
                    .loss_scale = position.loss_scale};
  gpu.copy(&device()->state, &exchange.state, sizeof(exchange.state));
  for (std::size_t i = 0; i < count; ++i) step_->launch();
  gpu.copy(&exchange, device(), sizeof(exchange));
  gpu.synchronize();
  position.loss_scale = exchange.state.loss_scale;
  std::vector<cuda::StepRecord> records;
  for (std::size_t i = 0; i < count; ++i) {
    records.push_back(exchange.records[(position.steps_done + i) % kMost]);
  }
  return records;
}

}  // namespace ringlet
