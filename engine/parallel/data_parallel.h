#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "collectives/communicator.h"
#include "engine/autograd/parameter_arena.h"
#include "engine/nn/module.h"
#include "engine/parallel/shard_tree.h"

namespace ringlet {

// A range of the gradient arena that is all-reduced as one.
struct GradientBucket {
  std::size_t begin, count;            // in floats
  std::size_t first_slot, slot_count;  // the parameters it holds
};

struct DataParallelOptions {
  std::size_t bucket_bytes = 25 << 20;
  // The first bucket is small, so that communication starts early.
  std::size_t first_bucket_bytes = 1 << 20;
  // ParameterArenaOptions::dtype.
  Dtype dtype = Dtype::kF32;
  // Collective::wire of their all-reduces.
  Dtype wire = Dtype::kF32;
  // Gradients on CUDA are summed by NCCL, not by the communicator.
  bool nccl = false;
  // The parts of a rank's batch, each with a backward() of its own. Their
  // gradients are added one after the other; with `tree`, as a ShardTree does.
  std::size_t shards = 1;
  bool tree = false;
};

// Cuts the arena into buckets of at least the given bytes (the last may be
// smaller), whole parameters each, in the order in which backward() fills it.
std::vector<GradientBucket> plan_buckets(const ParameterArena& arena,
                                         const DataParallelOptions& options);

// The same model on every rank, each with its own share of the batch:
//
//   parallel.start_step();
//   backward(loss);         // a bucket that is full is all-reduced meanwhile
//   parallel.finalize();    // gradients are now the sums over all ranks
//   sgd.step(lr);
//
// Where the batch comes in shards, next_shard() stands between one backward()
// and the next, and the last one's buckets are all-reduced.
//
// With the loss divided by the global batch (CrossEntropyOptions), sums over
// ranks are the gradients of one process with the whole batch. Buckets are
// launched in the same order on all ranks, whatever the order in which
// gradients become ready. Knows no thread; overlap is the Communicator's.
//
// The model is on the device where it is to be trained; gradients on CUDA are
// summed by NCCL (nccl_communicator.h), or by our collectives
// (gpu_communicator.h).
class DataParallel {
 public:
  // Broadcasts rank 0's parameters and buffers, after checking that the ranks
  // have the same parameters (names and shapes; SharedError otherwise).
  DataParallel(Module& model, Communicator& communicator,
               const DataParallelOptions& options = {});
  ~DataParallel();
  DataParallel(const DataParallel&) = delete;
  DataParallel& operator=(const DataParallel&) = delete;

  const ParameterArena& arena() const { return arena_; }
  // What sums the gradients: for arrays on the model's device.
  Communicator& reducer() const { return reducer_; }
  const std::vector<GradientBucket>& buckets() const { return buckets_; }
  // All of the model's.
  const Module::JoinedBuffers& buffers() const { return buffers_; }
  // The sum of the squares of all gradients, in this f64 on the device. After
  // finalize(); not finite where one of them is not.
  const Tensor& sum_squares() const;

  // Forgets the gradients of the last step.
  void start_step();
  // After a backward(), of which more are to come. Throws as finalize() does.
  void next_shard();
  // In place of backward() where there is no sample in this shard.
  void backward_nothing();
  // A hash of some of each gradient that this rank has computed for the shard,
  // before they were summed, in 52 bits, so that a double holds it; 0 where
  // they cannot be told: on a GPU, and in passes that are added to the first.
  std::uint64_t shard_hash() const;
  // Waits for the buckets in flight. Throws an Error with the names of the
  // parameters that backward() gave no gradient.
  void finalize();

  // While on, each gradient of this rank is looked at before it is summed.
  void watch_gradients(bool on) { watching_ = on; }
  // The parameter whose gradient was the first, in the order of backward(),
  // with a NaN or an infinity in the last watched step; "" where none was.
  const std::string& first_not_finite() const { return not_finite_; }

  // Gives rank 0's buffers (batch norm's running statistics) to every rank:
  // before evaluating and saving.
  void broadcast_buffers();

 private:
  void start_shard();
  void check_shard() const;
  void gradient_ready(std::size_t slot);
  bool all_finite(std::size_t begin, std::size_t count) const;
  void launch_full_buckets();

  Module::JoinedBuffers buffers_;
  Communicator& communicator_;
  std::unique_ptr<Communicator> on_gpu_;  // null on the CPU
  Communicator& reducer_;
  ParameterArena arena_;
  std::vector<GradientBucket> buckets_;
  std::vector<std::size_t> bucket_of_slot_;
  Dtype wire_;

  std::size_t shards_;
  std::optional<ShardTree> tree_;  // of the gradients, where they take one

  // This step's state.
  std::size_t shard_ = 0;
  std::vector<char> slot_ready_;  // of this shard
  std::uint64_t shard_hash_ = 0;
  std::vector<std::size_t> missing_;  // gradients to come, per bucket
  std::vector<Work> in_flight_;       // one per launched bucket
  Tensor squares_;                    // of gradients, summed: f64
  bool watching_ = false;
  std::string not_finite_;
};

}  // namespace ringlet
