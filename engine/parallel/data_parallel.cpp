#include "engine/parallel/data_parallel.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "collectives/gpu/gpu_communicator.h"
#include "collectives/gpu/nccl_communicator.h"
#include "collectives/recorder.h"
#include "engine/parallel/agreement.h"
#include "kernels/backend.h"
#include "kernels/runtime/check.h"

namespace ringlet {
namespace {

// What must be equal for the ranks' arenas to mean the same.
std::string signature(const Module& model) {
  std::string text;
  for (const auto& [name, tensor] : model.state()) {
    text += fmt::format("{} {} {}\n", name, name_of(tensor.dtype()),
                        to_string(tensor.shape()));
  }
  return text;
}

Device device_of(const Module& model) {
  const std::vector<Variable> parameters = model.parameters();
  return parameters.empty() ? Device::kCpu : parameters[0].data().device();
}

// Of gradients on a GPU; null on the CPU.
std::unique_ptr<Communicator> make_reducer(Device device,
                                           Communicator& communicator,
                                           const DataParallelOptions& options) {
  if (device == Device::kCpu) return nullptr;
  return options.nccl ? make_nccl_communicator(communicator)
                      : make_gpu_communicator(communicator);
}

// Of the first elements of an array, which they stand for.
std::uint64_t hash_of_part(const float* values, std::size_t count,
                           std::size_t salt) {
  constexpr std::size_t kPart = 1024;
  std::uint64_t hash = 0;
  for (std::size_t i = 0; i < std::min(count, kPart); ++i) {
    hash += hash_term(std::bit_cast<std::uint32_t>(values[i]), salt + i);
  }
  return hash;
}

// From rank 0.
void broadcast(Communicator& communicator, const Tensor& tensor) {
  const Tensor host = tensor.to(Device::kCpu);
  communicator.broadcast(host.raw(), host.bytes(), 0);
  if (tensor.device() != Device::kCpu) tensor.copy_from(host);
}

}  // namespace

std::vector<GradientBucket> plan_buckets(const ParameterArena& arena,
                                         const DataParallelOptions& options) {
  std::vector<GradientBucket> buckets;
  std::size_t limit = 0;  // in bytes; 0: open a new bucket
  for (std::size_t i = 0; i < arena.slots().size(); ++i) {
    const ParameterArena::Slot& slot = arena.slots()[i];
    if (limit == 0) {
      limit =
          buckets.empty() ? options.first_bucket_bytes : options.bucket_bytes;
      buckets.push_back({slot.begin, 0, i, 0});
    }
    GradientBucket& bucket = buckets.back();
    // With the padding behind it, so that the buckets leave no gap.
    const std::size_t end = i + 1 < arena.slots().size()
                                ? arena.slots()[i + 1].begin
                                : arena.count();
    bucket.count = end - bucket.begin;
    ++bucket.slot_count;
    if (bucket.count * sizeof(float) >= limit) limit = 0;
  }
  return buckets;
}

DataParallel::DataParallel(Module& model, Communicator& communicator,
                           const DataParallelOptions& options)
    : buffers_(model.join_buffers()),
      communicator_(communicator),
      on_gpu_(make_reducer(device_of(model), communicator, options)),
      reducer_(on_gpu_ ? *on_gpu_ : communicator),
      arena_(model.parameters(),
             {.allocate_gradients =
                  [&](std::size_t bytes) { return reducer_.allocate(bytes); },
              .dtype = options.dtype}),
      buckets_(plan_buckets(arena_, options)),
      wire_(options.wire),
      shards_(options.shards),
      squares_({}, Dtype::kF64, Layout::kPlain, arena_.device()) {
  if (options.tree) {
    tree_.emplace(shards_, arena_.count(), arena_.device());
  }
  require_equal(communicator_, "the model", signature(model));
  broadcast(communicator_, arena_.flat_values());
  arena_.update_half_copy();
  broadcast_buffers();
  for (std::size_t b = 0; b < buckets_.size(); ++b) {
    bucket_of_slot_.insert(bucket_of_slot_.end(), buckets_[b].slot_count, b);
  }
  for (std::size_t i = 0; i < arena_.slots().size(); ++i) {
    arena_.slots()[i].parameter.set_grad_hook(
        [this, i](const Variable&) { gradient_ready(i); });
  }
}

DataParallel::~DataParallel() {
  // After an error a collective may still write to the gradients: that memory
  // must then not be handed out again.
  for (const Work& work : in_flight_) {
    if (!work.done()) arena_.gradient_memory().keep();
  }
  for (const ParameterArena::Slot& slot : arena_.slots()) {
    slot.parameter.set_grad_hook(nullptr);
  }
}

void DataParallel::start_step() {
  arena_.zero_grad();
  shard_ = 0;
  start_shard();
  missing_.clear();
  for (const GradientBucket& bucket : buckets_) {
    missing_.push_back(bucket.slot_count);
  }
  in_flight_.clear();
  not_finite_.clear();
}

void DataParallel::start_shard() {
  shard_hash_ = 0;
  slot_ready_.assign(arena_.slots().size(), false);
}

void DataParallel::next_shard() {
  check_shard();
  ++shard_;
  RINGLET_CHECK(shard_ < shards_, "more shards than {}", shards_);
  // The tree has what the last one gave; else backward() adds to it.
  if (tree_) arena_.zero_grad();
  start_shard();
}

void DataParallel::gradient_ready(std::size_t slot) {
  RINGLET_CHECK(missing_.size() == buckets_.size() && !slot_ready_[slot],
                "backward() without start_step(): '{}' has a gradient already",
                arena_.slots()[slot].parameter.name());
  slot_ready_[slot] = true;
  const auto& [parameter, begin, count] = arena_.slots()[slot];
  if (watching_ && not_finite_.empty() && !all_finite(begin, count)) {
    not_finite_ = parameter.name();
  }
  // Later shards without a tree have been added to the first.
  if (arena_.device() == Device::kCpu && (tree_ || shard_ == 0)) {
    shard_hash_ += hash_of_part(arena_.gradients() + begin, count, slot);
  }
  if (tree_) tree_->add(shard_, arena_.gradients(), begin, count);
  if (shard_ + 1 < shards_) return;
  --missing_[bucket_of_slot_[slot]];
  launch_full_buckets();
}

std::uint64_t DataParallel::shard_hash() const {
  constexpr int kBitsOfDouble = 52;
  return shard_hash_ >>
         (std::numeric_limits<std::uint64_t>::digits - kBitsOfDouble);
}

bool DataParallel::all_finite(std::size_t begin, std::size_t count) const {
  backend(arena_.device())
      .optim.squared_norm(count, arena_.gradients() + begin,
                          squares_.data<double>());
  return std::isfinite(squares_.item());
}

const Tensor& DataParallel::sum_squares() const {
  backend(arena_.device())
      .optim.squared_norm(arena_.count(), arena_.gradients(),
                          squares_.data<double>());
  return squares_;
}

// In bucket order only: ranks whose gradients become ready in another order
// must still call the same collectives in the same order.
void DataParallel::launch_full_buckets() {
  while (in_flight_.size() < buckets_.size() &&
         missing_[in_flight_.size()] == 0) {
    const std::size_t number = in_flight_.size();
    const GradientBucket& bucket = buckets_[number];
    if (Recorder* recorder = communicator_.recorder()) {
      recorder->complete_bucket(static_cast<int>(number));
    }
    float* gradients = arena_.gradients() + bucket.begin;
    in_flight_.push_back(reducer_.start({.kind = CollectiveKind::kAllReduce,
                                         .input = gradients,
                                         .output = gradients,
                                         .count = bucket.count,
                                         .dtype = Dtype::kF32,
                                         .tag = static_cast<int>(number),
                                         .wire = wire_}));
  }
}

void DataParallel::backward_nothing() {
  // Without a tree they hold the sum of the shards so far.
  if (tree_ || shard_ == 0) {
    fill_memory_with_zeros(arena_.gradients(), arena_.device(),
                           arena_.count() * sizeof(float));
  }
  for (std::size_t i = 0; i < arena_.slots().size(); ++i) gradient_ready(i);
}

void DataParallel::check_shard() const {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < slot_ready_.size(); ++i) {
    if (!slot_ready_[i]) names.push_back(arena_.slots()[i].parameter.name());
  }
  if (names.empty()) return;
  throw Error(
      fmt::format("backward() gave no gradient to {}", fmt::join(names, ", ")));
}

void DataParallel::finalize() {
  check_shard();
  RINGLET_CHECK(shard_ + 1 == shards_, "{} shards of {}", shard_ + 1, shards_);
  for (Work& work : in_flight_) work.wait();
  missing_.clear();
}

void DataParallel::broadcast_buffers() {
  broadcast(communicator_, buffers_.all);
}

}  // namespace ringlet
