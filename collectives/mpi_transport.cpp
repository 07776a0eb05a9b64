#include "collectives/mpi_transport.h"

#include <mpi.h>

#include <algorithm>
#include <atomic>
#include <vector>

#include "collectives/backoff.h"
#include "collectives/mpi_world.h"
#include "kernels/runtime/check.h"
#include "kernels/runtime/threads.h"

namespace ringlet {
namespace {

// MPI keeps the order of messages between two ranks, so one tag is enough.
constexpr int kTag = 0;

// A message as the pieces that MPI carries it in. One that an error leaves
// behind unfinished is left to MPI: the job then ends without MPI_Finalize.
class MpiRequest final : public Transport::Request {
 public:
  enum class Kind { kSend, kReceive };

  // post(offset, length, request) starts one piece. A message of no bytes is
  // one empty piece.
  template <typename Post>
  MpiRequest(Kind kind, int peer, std::size_t bytes, std::size_t largest_piece,
             const Post& post)
      : kind_(kind), peer_(peer) {
    std::size_t offset = 0;
    do {
      const std::size_t length = std::min(largest_piece, bytes - offset);
      pieces_.push_back({MPI_REQUEST_NULL, static_cast<int>(length)});
      post(offset, pieces_.back().length, &pieces_.back().request);
      offset += length;
    } while (offset < bytes);
  }

  int peer() const { return peer_; }

  bool test() override {
    for (; done_ < pieces_.size(); ++done_) {
      int finished = 0;
      MPI_Status status;
      check_mpi(MPI_Test(&pieces_[done_].request, &finished, &status),
                "MPI_Test");
      if (!finished) return false;
      if (kind_ == Kind::kReceive) check_length(status);
    }
    return true;
  }

 private:
  struct Piece {
    MPI_Request request;
    int length;
  };

  // MPI itself complains only of a message that is too long.
  void check_length(const MPI_Status& status) const {
    int length = 0;
    check_mpi(MPI_Get_count(&status, MPI_BYTE, &length), "MPI_Get_count");
    RINGLET_CHECK(length == pieces_[done_].length,
                  "rank {} sends {} bytes where {} are expected",
                  status.MPI_SOURCE, length, pieces_[done_].length);
  }

  Kind kind_;
  int peer_;
  std::vector<Piece> pieces_;
  std::size_t done_ = 0;  // pieces that have left or arrived
};

class MpiTransport final : public Transport {
 public:
  explicit MpiTransport(std::size_t largest_piece)
      : largest_piece_(largest_piece),
        spins_(spin_budget(world_.info().local_size, kernel_threads(),
                           host_cores())) {}

  int rank() const override { return world_.info().rank; }
  int size() const override { return world_.info().size; }
  std::vector<int> host_ranks() const override { return world_.host_ranks(); }

  RequestPtr isend(int peer, const void* data, std::size_t bytes) override {
    return std::make_unique<MpiRequest>(
        MpiRequest::Kind::kSend, peer, bytes, largest_piece_,
        [&](std::size_t offset, int length, MPI_Request* request) {
          check_mpi(
              MPI_Isend(static_cast<const std::byte*>(data) + offset, length,
                        MPI_BYTE, peer, kTag, world_.comm(), request),
              "MPI_Isend");
        });
  }

  RequestPtr irecv(int peer, void* data, std::size_t bytes) override {
    return std::make_unique<MpiRequest>(
        MpiRequest::Kind::kReceive, peer, bytes, largest_piece_,
        [&](std::size_t offset, int length, MPI_Request* request) {
          check_mpi(MPI_Irecv(static_cast<std::byte*>(data) + offset, length,
                              MPI_BYTE, peer, kTag, world_.comm(), request),
                    "MPI_Irecv");
        });
  }

  // The progress thread is not counted in the spin budget: while it waits
  // urgently, the thread that computes waits for it.
  void wait(Request& request) override {
    if (request.test()) return;
    waiting_for_.store(static_cast<MpiRequest&>(request).peer(),
                       std::memory_order_relaxed);
    Backoff backoff(spins_);
    while (!request.test()) {
      if (cancelled_) throw Cancelled("gave up waiting for another rank");
      backoff.pause(urgent_);
    }
    waiting_for_.store(kNobody, std::memory_order_relaxed);
  }

  void cancel() noexcept override { cancelled_ = true; }
  bool is_cancelled() const noexcept override { return cancelled_; }
  void set_urgent(bool urgent) override { urgent_ = urgent; }
  int waiting_for() const override { return waiting_for_; }

 private:
  MpiWorld world_;
  std::size_t largest_piece_;
  int spins_;
  std::atomic<bool> cancelled_ = false;
  std::atomic<bool> urgent_ = true;
  std::atomic<int> waiting_for_ = kNobody;
};

}  // namespace

std::unique_ptr<Transport> make_mpi_transport(std::size_t largest_piece) {
  return std::make_unique<MpiTransport>(largest_piece);
}

std::shared_ptr<HostMemory> mpi_host_memory(const Transport& transport) {
  static std::weak_ptr<HostMemory> current;
  std::shared_ptr<HostMemory> memory = current.lock();
  if (!memory) {
    memory =
        std::make_shared<HostMemory>(transport.host_ranks(), transport.rank());
    current = memory;
  }
  return memory;
}

}  // namespace ringlet
