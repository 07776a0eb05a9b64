#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "bench/train_perf/training.h"

namespace ringlet {

// What train_perf tells, collectively by all ranks; the same on each, but for
// the kernels, which are this rank's. Seconds, bytes, GFLOP.
nlohmann::ordered_json measure(const TrainPerfOptions& options,
                               Communicator& communicator);
void print_table(const nlohmann::ordered_json& measured);

// Steps with each back end in turn, in a new order in each round; ratios are of
// the times of a round, to the last back end's.
nlohmann::ordered_json compare(
    const TrainPerfOptions& options,
    const std::vector<std::unique_ptr<Communicator>>& communicators);
void print_comparison(const nlohmann::ordered_json& compared);

}  // namespace ringlet
