#pragma once

#include <cstddef>

#include "engine/data/image_set.h"

namespace ringlet {

inline constexpr std::size_t kSyntheticTrainCount = 20'000;
inline constexpr std::size_t kSyntheticTestCount = 1'000;

// The built-in data set: ten classes of 32x32 pictures, each a coloured shape
// ("red heart", "red cross", "yellow star", ...) of any place, size, angle and
// shade before a cluttered, noisy ground. Two classes share each colour, so
// that a young network finds half of the answer in a hundred steps and has to
// learn shapes for the rest, which a linear model cannot do.
//
// Picture i is a pure function of its half (train or test) and i, and the same
// bits on every machine; its label is i mod 10. Both counts may be any number.
// Cost: about 30 us a picture.
Dataset make_synthetic(std::size_t train_count = kSyntheticTrainCount,
                       std::size_t test_count = kSyntheticTestCount);

}  // namespace ringlet
