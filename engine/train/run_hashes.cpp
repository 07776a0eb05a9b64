#include "engine/train/run_hashes.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>

#include "engine/parallel/agreement.h"
#include "kernels/backend.h"

namespace ringlet {
namespace {

std::vector<std::uint32_t> folded(const std::vector<std::uint64_t>& hashes) {
  std::vector<std::uint32_t> result;
  for (const std::uint64_t hash : hashes) {
    result.push_back(static_cast<std::uint32_t>(hash ^ hash >> 32));
  }
  return result;
}

std::uint64_t hash_of(const std::vector<std::uint8_t>& bytes) {
  std::uint64_t hash = 0;
  for (std::size_t i = 0; i < bytes.size(); i += sizeof(std::uint32_t)) {
    std::uint32_t word = 0;
    std::memcpy(&word, bytes.data() + i,
                std::min(sizeof(word), bytes.size() - i));
    hash += hash_term(word, i);
  }
  return hash;
}

// The ranks that do not hold what most of them do. Of two, both.
std::vector<std::size_t> minority(
    const std::vector<std::vector<std::uint64_t>>& weights) {
  std::map<std::vector<std::uint64_t>, std::vector<std::size_t>> holders;
  for (std::size_t rank = 0; rank < weights.size(); ++rank) {
    holders[weights[rank]].push_back(rank);
  }
  std::vector<std::size_t> others;
  for (const auto& [hashes, ranks] : holders) {
    if (2 * ranks.size() > weights.size()) continue;
    others.insert(others.end(), ranks.begin(), ranks.end());
  }
  std::sort(others.begin(), others.end());
  return others;
}

}  // namespace

RunHashes::RunHashes(const TrainOptions& options, const TrainPlan& plan,
                     const ImageSet& images, Communicator& communicator,
                     const DataParallel& parallel)
    : options_(options),
      total_steps_(plan.total_steps),
      sampler_({.count = images.count(),
                .global_batch = plan.global_batch,
                .seed = options.seed}),
      communicator_(communicator),
      parallel_(parallel) {
  if (options.hashes && communicator.rank() == 0) {
    images_ = hash_of(images.pixels) + hash_of(images.labels);
  }
  const ParameterArena& arena = parallel.arena();
  std::vector<FlatRange> ranges;
  for (const ParameterArena::Slot& slot : arena.slots()) {
    ranges.push_back({slot.begin, slot.count});
  }
  const std::size_t count = ranges.size();
  const std::size_t bytes = count * sizeof(FlatRange);
  ranges_ = Buffer::allocate(bytes, arena.device());
  hashes_ = Buffer::allocate(2 * count * sizeof(std::uint64_t), arena.device());
  copy_memory(ranges_.data(), arena.device(), ranges.data(), Device::kCpu,
              bytes);
  const auto* on_device = reinterpret_cast<const FlatRange*>(ranges_.data());
  auto* hashes = reinterpret_cast<std::uint64_t*>(hashes_.data());
  args_ = {HashArgs{arena.gradients(), on_device, count, hashes},
           HashArgs{arena.values(), on_device, count, hashes + count}};
}

std::vector<std::uint64_t> RunHashes::result_of(const HashArgs& args) const {
  std::vector<std::uint64_t> result(args.range_count);
  copy_memory(result.data(), Device::kCpu, args.hashes, hashes_.device(),
              result.size() * sizeof(std::uint64_t));
  return result;
}

std::span<const HashArgs> RunHashes::wanted() const {
  if (!options_.hashes || communicator_.rank() > 0) return {};
  return args_;
}

// Of the pictures of all ranks, and what their augmentation depends on.
std::uint64_t RunHashes::data_of(std::size_t step) {
  const std::size_t epoch = (step - 1) / sampler_.steps();
  if (epoch_of_order_ != epoch + 1) {
    order_ = sampler_.order(static_cast<std::uint32_t>(epoch));
    epoch_of_order_ = epoch + 1;
  }
  const auto share = sampler_.share((step - 1) % sampler_.steps());
  std::uint64_t hash = hash_term(static_cast<std::uint32_t>(epoch), 0) +
                       hash_term(static_cast<std::uint32_t>(options_.seed), 1);
  hash += hash_term((options_.augment ? 1 : 0) +
                        2 * static_cast<std::uint32_t>(options_.cutout),
                    2);
  hash ^= std::bit_cast<std::uint64_t>(options_.mixup);
  for (std::size_t i = 0; i < share.count; ++i) {
    hash += hash_term(order_[share.begin + i], i + 3);
  }
  return hash + images_;
}

std::shared_ptr<const StepHashes> RunHashes::of_step(
    std::size_t step, double loss, double gradient_norm,
    const std::vector<StepHashes::Shard>& shards, bool hashed) {
  if (wanted().empty()) return nullptr;
  for (const HashArgs& args : args_) {
    if (!hashed) backend(hashes_.device()).optim.hash(args);
  }
  return std::make_shared<const StepHashes>(
      StepHashes{.step = step,
                 .data = data_of(step),
                 .loss = loss,
                 .gradient_norm = gradient_norm,
                 .shards = shards,
                 .gradients = folded(result_of(args_[0])),
                 .weights = folded(result_of(args_[1]))});
}

void RunHashes::check_weights(std::size_t step) {
  const std::size_t before = std::exchange(checked_, step);
  const auto ranks = static_cast<std::size_t>(communicator_.size());
  const std::size_t period = options_.check_weights;
  if (period == 0 || ranks == 1) return;
  if (before / period == step / period && step != total_steps_) return;
  const HashArgs& of_weights = args_[1];
  backend(hashes_.device()).optim.hash(of_weights);
  const std::vector<std::uint64_t> mine = result_of(of_weights);
  std::vector<std::uint64_t> all(ranks * mine.size());
  communicator_.all_gather(mine.data(), all.data(), mine.size(), Dtype::kI64);
  std::vector<std::vector<std::uint64_t>> weights;
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    const auto begin =
        all.begin() + static_cast<std::ptrdiff_t>(rank * mine.size());
    weights.emplace_back(begin,
                         begin + static_cast<std::ptrdiff_t>(mine.size()));
  }
  std::string what;
  for (const GradientBucket& bucket : parallel_.buckets()) {
    std::vector<std::string> names;
    for (std::size_t i = bucket.first_slot;
         i < bucket.first_slot + bucket.slot_count; ++i) {
      const bool same =
          std::all_of(weights.begin(), weights.end(),
                      [&](const auto& one) { return one[i] == mine[i]; });
      const auto& slot = parallel_.arena().slots()[i];
      if (!same) names.push_back("'" + slot.parameter.name() + "'");
    }
    if (names.empty()) continue;
    constexpr std::size_t kNamed = 3;
    const std::size_t more = names.size() - std::min(names.size(), kNamed);
    names.resize(names.size() - more);
    what +=
        fmt::format("; in bucket {} {}{}", &bucket - parallel_.buckets().data(),
                    fmt::join(names, ", "),
                    more > 0 ? fmt::format(" and {} more", more) : "");
  }
  if (what.empty()) return;
  throw SharedError(fmt::format(
      "after step {} the ranks' weights are not the same, which they must be: "
      "others than most have rank {}{}",
      step, fmt::join(minority(weights), ", "), what));
}

}  // namespace ringlet
