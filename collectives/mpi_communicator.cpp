#include "collectives/mpi_communicator.h"

#include <mpi.h>

#include <algorithm>

#include "collectives/host_communicator.h"
#include "collectives/mpi_world.h"

namespace ringlet {
namespace {

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
    case Dtype::kF32:
      break;
  }
  return MPI_FLOAT;
}

MPI_Op mpi_op(ReduceOp op) {
  switch (op) {
    case ReduceOp::kProd:
      return MPI_PROD;
    case ReduceOp::kMin:
      return MPI_MIN;
    case ReduceOp::kMax:
      return MPI_MAX;
    case ReduceOp::kSum:
      break;
  }
  return MPI_SUM;
}

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

  void all_reduce(void* data, std::size_t count, Dtype dtype,
                  ReduceOp op) override {
    for_each_piece(data, count, size_of(dtype), [&](void* piece, int length) {
      check_mpi(MPI_Allreduce(MPI_IN_PLACE, piece, length, mpi_type(dtype),
                              mpi_op(op), world_.comm()),
                "MPI_Allreduce");
    });
  }

  void broadcast(void* data, std::size_t bytes, int root) override {
    for_each_piece(data, bytes, 1, [&](void* piece, int length) {
      check_mpi(MPI_Bcast(piece, length, MPI_BYTE, root, world_.comm()),
                "MPI_Bcast");
    });
  }

  void barrier() override {
    check_mpi(MPI_Barrier(world_.comm()), "MPI_Barrier");
  }

  bool cancel() noexcept override { return false; }

 private:
  template <typename Call>
  void for_each_piece(void* data, std::size_t count, std::size_t width,
                      const Call& call) const {
    for (std::size_t begin = 0; begin < count; begin += largest_piece_) {
      const std::size_t length = std::min(largest_piece_, count - begin);
      call(static_cast<std::byte*>(data) + begin * width,
           static_cast<int>(length));
    }
  }

  MpiWorld world_;
  std::size_t largest_piece_;
};

}  // namespace

std::unique_ptr<Communicator> make_mpi_communicator(std::size_t largest_piece) {
  return std::make_unique<HostCommunicator>(
      std::make_unique<MpiCollectives>(largest_piece));
}

}  // namespace ringlet
