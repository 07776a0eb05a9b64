#include "engine/optim/sgd.h"

#include "kernels/backend.h"

namespace ringlet {

SGD::SGD(const ParameterArena& arena, const SgdOptions& options)
    : arena_(arena),
      options_(options),
      memory_(Buffer::allocate(arena.count() * sizeof(float), arena.device())),
      momentum_({static_cast<std::int64_t>(arena.count())}, Dtype::kF32,
                Layout::kPlain, memory_, 0),
      step_(Buffer::allocate(sizeof(SgdStep), arena.device())) {
  momentum_.fill_zero();
  if (options.trust > 0) adapt_rates();
  if (!options.no_decay_bn_bias) return;
  constexpr std::size_t kBitsPerByte = 8;
  std::vector<std::uint8_t> decays((arena.count() + kBitsPerByte - 1) /
                                   kBitsPerByte);
  for (const ParameterArena::Slot& slot : arena.slots()) {
    if (is_spared(slot)) continue;
    for (std::size_t i = slot.begin; i < slot.begin + slot.count; ++i) {
      decays[i / kBitsPerByte] |= 1u << i % kBitsPerByte;
    }
  }
  decays_ = Buffer::allocate(decays.size(), arena.device());
  copy_memory(decays_.data(), arena.device(), decays.data(), Device::kCpu,
              decays.size());
}

// Biases and batch norm's parameters have one dimension.
bool SGD::is_spared(const ParameterArena::Slot& slot) const {
  return options_.no_decay_bn_bias && slot.parameter.data().shape().size() == 1;
}

void SGD::adapt_rates() {
  std::vector<FlatRange> ranges;
  for (const ParameterArena::Slot& slot : arena_.slots()) {
    if (!is_spared(slot)) ranges.push_back({slot.begin, slot.count});
  }
  const std::size_t bytes = ranges.size() * sizeof(FlatRange);
  adapted_ = Buffer::allocate(bytes, arena_.device());
  copy_memory(adapted_.data(), arena_.device(), ranges.data(), Device::kCpu,
              bytes);
}

std::vector<std::pair<std::string, Tensor>> SGD::state() const {
  std::vector<std::pair<std::string, Tensor>> state;
  for (const ParameterArena::Slot& slot : arena_.slots()) {
    state.emplace_back(slot.parameter.name(), arena_.view(slot, memory_));
  }
  return state;
}

void SGD::step(float lr, float gradient_scale,
               std::span<const HashArgs> hashes) {
  const SgdStep values{.lr = lr, .gradient_scale = gradient_scale};
  copy_memory(step_.data(), arena_.device(), &values, Device::kCpu,
              sizeof(values));
  step(reinterpret_cast<const SgdStep*>(step_.data()), hashes);
}

void SGD::step(const SgdStep* step, std::span<const HashArgs> hashes) {
  OptimKernels& kernels = backend(arena_.device()).optim;
  const bool adapts = options_.trust > 0;
  if (adapts) {
    kernels.lars({.parameter = arena_.values(),
                  .grad = arena_.gradients(),
                  .ranges = reinterpret_cast<const FlatRange*>(adapted_.data()),
                  .range_count = adapted_.bytes() / sizeof(FlatRange),
                  .step = step,
                  .trust = options_.trust,
                  .weight_decay = options_.weight_decay});
  }
  kernels.sgd({.count = arena_.count(),
               .grad = arena_.gradients(),
               .momentum_buffer = momentum_.data(),
               .parameter = arena_.values(),
               .step = step,
               .momentum = options_.momentum,
               .weight_decay = adapts ? 0 : options_.weight_decay,
               .nesterov = options_.nesterov,
               .decays = reinterpret_cast<const std::uint8_t*>(decays_.data()),
               .half_copy = arena_.half_copy(),
               .half_dtype = arena_.half_dtype(),
               .hashes = hashes});
}

}  // namespace ringlet
