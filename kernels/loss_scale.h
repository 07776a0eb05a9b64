#pragma once

#include <cstdint>

namespace ringlet {

// Dynamic loss scaling, for f16: the loss's gradient is multiplied by `value`
// so that small gradients do not vanish, and the optimizer divides by it. A
// step whose gradients overflow is skipped and halves it; it doubles after
// kGrowthSteps steps without one. (Micikevicius et al., "Mixed precision
// training", ICLR 2018; the numbers are PyTorch's GradScaler's.)
struct LossScale {
  static constexpr std::uint32_t kGrowthSteps = 2000;
  static constexpr float kFirst = 65536;
  // Its inverse must be no denormal number either.
  static constexpr float kLargest = 0x1p126f;

  float value = 1;
  std::uint32_t good_steps = 0;  // since it has changed

  constexpr void update(bool finite) {
    if (!finite) {
      if (value > 1) value /= 2;
      good_steps = 0;
    } else if (++good_steps == kGrowthSteps) {
      if (value < kLargest) value *= 2;
      good_steps = 0;
    }
  }
};

}  // namespace ringlet
