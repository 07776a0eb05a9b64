#include "engine/train/recorded_steps.h"

#include <new>

#include "engine/optim/schedule.h"
#include "kernels/reduce.h"

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
      pinned_(Buffer::allocate_pinned(sizeof(Exchange))),
      sum_(Buffer::allocate(sizeof(CrossEntropyResult), Device::kCuda)) {
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
  const Batch batch = parts_.loader.batch_at(&state->place, kWholeBatch);
  std::vector<CrossEntropyOutput> shards;
  StepPhases none;
  parts_.micro_batches.run(batch, scaled ? &state->loss_scale.value : nullptr,
                           none,
                           [&](std::size_t, const CrossEntropyOutput& out) {
                             shards.push_back(out);
                           });
  CrossEntropyResult* result = sum(shards);
  Communicator& ranks = parts_.parallel.reducer();
  ranks.all_reduce(&result->loss, 1, Dtype::kF64, ReduceOp::kSum);
  ranks.all_reduce(&result->correct, 1, Dtype::kI64, ReduceOp::kSum);
  gpu.judge_step({.state = state,
                  .result = result,
                  .squares = parts_.parallel.sum_squares().data<double>(),
                  .scaled = scaled,
                  .clip_norm = parts_.clip_norm,
                  .records = device()->records,
                  .record_count = kMost});
  parts_.optimizer.step(&state->sgd);
  const Tensor& buffers = parts_.buffers.all();
  gpu.restore_if_skipped(state, buffers.bytes() / sizeof(std::uint64_t),
                         parts_.buffers.before().raw(), buffers.raw());
  if (parts_.average != nullptr) parts_.average->update(&state->sgd);
}

CrossEntropyResult* RecordedSteps::sum(
    const std::vector<CrossEntropyOutput>& shards) const {
  const auto at = [](const Buffer& buffer) {
    return reinterpret_cast<CrossEntropyResult*>(buffer.data());
  };
  if (shards.size() == 1) return at(shards[0].result);
  std::vector<const void*> losses, rights;
  for (const CrossEntropyOutput& shard : shards) {
    losses.push_back(&at(shard.result)->loss);
    rights.push_back(&at(shard.result)->correct);
  }
  CrossEntropyResult* total = at(sum_);
  reduce_tree(Device::kCuda, &total->loss, losses.data(), losses.size(), 1,
              Dtype::kF64, ReduceOp::kSum);
  reduce_tree(Device::kCuda, &total->correct, rights.data(), rights.size(), 1,
              Dtype::kI64, ReduceOp::kSum);
  return total;
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
