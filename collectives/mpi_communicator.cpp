#include "collectives/mpi_communicator.h"

#include <mpi.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "collectives/mpi_world.h"
#include "kernels/runtime/check.h"

namespace ringlet {
namespace {

// The 16-bit types are opaque to MPI; what combines them is ours.
MPI_Datatype mpi_type(Dtype dtype) {
  switch (dtype) {
    case Dtype::kF64:
      return MPI_DOUBLE;
    case Dtype::kI32:
      return MPI_INT32_T;
    case Dtype::kI64:
      return MPI_INT64_T;
    case Dtype::kU8:
      return MPI_UINT8_T;
    case Dtype::kF16:
    case Dtype::kBF16:
      return MPI_UINT16_T;
    case Dtype::kF32:
      break;
  }
  return MPI_FLOAT;
}

MPI_Op native_op(ReduceOp op) {
  switch (op) {
    case ReduceOp::kProd:
      return MPI_PROD;
    case ReduceOp::kMin:
      return MPI_MIN;
    case ReduceOp::kMax:
      return MPI_MAX;
    case ReduceOp::kSum:
    case ReduceOp::kAvg:
      break;
  }
  return MPI_SUM;
}

// What MPI calls for two arrays of 16-bit floats.
template <Dtype dtype, ReduceOp op>
void combine_halves(void* operand, void* accumulator, int* count,
                    MPI_Datatype*) {
  reduce(accumulator, operand, static_cast<std::size_t>(*count), dtype, op);
}

MPI_User_function* half_function(Dtype dtype, ReduceOp op) {
  const auto of_type = [op]<Dtype type>() -> MPI_User_function* {
    switch (op) {
      case ReduceOp::kProd:
        return &combine_halves<type, ReduceOp::kProd>;
      case ReduceOp::kMin:
        return &combine_halves<type, ReduceOp::kMin>;
      case ReduceOp::kMax:
        return &combine_halves<type, ReduceOp::kMax>;
      case ReduceOp::kSum:
      case ReduceOp::kAvg:
        break;
    }
    return &combine_halves<type, ReduceOp::kSum>;
  };
  return dtype == Dtype::kF16 ? of_type.operator()<Dtype::kF16>()
                              : of_type.operator()<Dtype::kBF16>();
}

// An MPI_Op for one call: MPI's own, or one of ours for a 16-bit type.
class Operation {
 public:
  Operation(Dtype dtype, ReduceOp op) : ours_(size_of(dtype) == 2) {
    if (!ours_) {
      op_ = native_op(op);
      return;
    }
    constexpr int kCommutes = 1;
    check_mpi(MPI_Op_create(half_function(dtype, op), kCommutes, &op_),
              "MPI_Op_create");
  }
  ~Operation() {
    if (ours_) MPI_Op_free(&op_);
  }
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;

  MPI_Op get() const { return op_; }

 private:
  bool ours_;
  MPI_Op op_ = MPI_OP_NULL;
};

// Always the blocking calls: whether a call runs on the progress thread depends
// on timing, and MPI would not match MPI_Allreduce on one rank with
// MPI_Iallreduce on another.
class MpiCollectives final : public HostCollectives {
 public:
  explicit MpiCollectives(std::size_t largest_piece)
      : largest_piece_(largest_piece) {}

  std::string name() const override { return "mpi"; }
  int rank() const override { return world_.info().rank; }
  int size() const override { return world_.info().size; }

  void run(const Collective& call) override {
    if (call.wire != Dtype::kF32) {
      throw Error(fmt::format("mpi: {}: expected f32", describe(call)));
    }
    switch (call.kind) {
      case CollectiveKind::kAllReduce:
        all_reduce(call);
        return divide_if_average(call);
      case CollectiveKind::kReduceScatter:
        reduce_scatter(call);
        return divide_if_average(call);
      case CollectiveKind::kAllGather:
        return all_gather(call);
      case CollectiveKind::kReduce:
        reduce_to_root(call);
        if (rank() == call.root) divide_if_average(call);
        return;
      case CollectiveKind::kBroadcast:
        return broadcast(call);
      case CollectiveKind::kBarrier:
        return check_mpi(MPI_Barrier(world_.comm()), "MPI_Barrier");
    }
  }

  bool cancel() noexcept override { return false; }

 private:
  // call(offset in bytes, elements) for each piece that an int can count.
  template <typename Call>
  void for_each_piece(const Collective& of, const Call& call) const {
    for (std::size_t begin = 0; begin < of.count; begin += largest_piece_) {
      const std::size_t length = std::min(largest_piece_, of.count - begin);
      call(begin * size_of(of.dtype), static_cast<int>(length));
    }
  }

  static std::byte* out(const Collective& call, std::size_t offset) {
    return static_cast<std::byte*>(call.output) + offset;
  }
  // The piece of the input, or MPI's word for "in place".
  static const void* in(const Collective& call, std::size_t offset) {
    if (call.input == call.output) return MPI_IN_PLACE;
    return static_cast<const std::byte*>(call.input) + offset;
  }

  void all_reduce(const Collective& call) {
    const Operation op(call.dtype, call.op);
    for_each_piece(call, [&](std::size_t offset, int length) {
      check_mpi(MPI_Allreduce(in(call, offset), out(call, offset), length,
                              mpi_type(call.dtype), op.get(), world_.comm()),
                "MPI_Allreduce");
    });
  }

  // MPI counts each rank's part with an int, and cannot leave gaps between the
  // parts: what is larger is refused, not cut.
  int part_length(const Collective& call) const {
    constexpr auto kMost =
        static_cast<std::size_t>(std::numeric_limits<int>::max());
    if (call.count > kMost) {
      throw Error(
          fmt::format("{} of {} elements per rank by MPI: expected at most {}",
                      name_of(call.kind), call.count, kMost));
    }
    return static_cast<int>(call.count);
  }

  std::size_t own_part(const Collective& call) const {
    return static_cast<std::size_t>(rank()) * call.count * size_of(call.dtype);
  }

  void reduce_scatter(const Collective& call) {
    const Operation op(call.dtype, call.op);
    const int length = part_length(call);
    const auto* input = static_cast<const std::byte*>(call.input);
    const bool in_place = input + own_part(call) == call.output;
    // In place, MPI wants the whole array and leaves the result in front.
    void* data = in_place ? out(call, 0) - own_part(call) : call.output;
    check_mpi(MPI_Reduce_scatter_block(in_place ? MPI_IN_PLACE : call.input,
                                       data, length, mpi_type(call.dtype),
                                       op.get(), world_.comm()),
              "MPI_Reduce_scatter_block");
    if (in_place && call.count > 0) {
      std::memmove(call.output, data, call.count * size_of(call.dtype));
    }
  }

  void all_gather(const Collective& call) {
    const bool in_place = out(call, own_part(call)) == call.input;
    check_mpi(
        MPI_Allgather(in_place ? MPI_IN_PLACE : call.input, part_length(call),
                      mpi_type(call.dtype), call.output, part_length(call),
                      mpi_type(call.dtype), world_.comm()),
        "MPI_Allgather");
  }

  void reduce_to_root(const Collective& call) {
    const Operation op(call.dtype, call.op);
    const bool root = rank() == call.root;
    for_each_piece(call, [&](std::size_t offset, int length) {
      check_mpi(
          MPI_Reduce(root ? MPI_IN_PLACE : out(call, offset),
                     root ? out(call, offset) : nullptr, length,
                     mpi_type(call.dtype), op.get(), call.root, world_.comm()),
          "MPI_Reduce");
    });
  }

  void broadcast(const Collective& call) {
    for_each_piece(call, [&](std::size_t offset, int length) {
      check_mpi(MPI_Bcast(out(call, offset), length, mpi_type(call.dtype),
                          call.root, world_.comm()),
                "MPI_Bcast");
    });
  }

  void divide_if_average(const Collective& call) const {
    if (call.op == ReduceOp::kAvg) {
      scale(call.output, call.count, call.dtype, 1.0 / size());
    }
  }

  MpiWorld world_;
  std::size_t largest_piece_;
};

}  // namespace

std::unique_ptr<HostCollectives> make_mpi_collectives(
    std::size_t largest_piece) {
  return std::make_unique<MpiCollectives>(largest_piece);
}

}  // namespace ringlet
