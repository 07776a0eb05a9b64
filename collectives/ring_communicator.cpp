#include "collectives/ring_communicator.h"

#include <utility>

#include "collectives/barrier.h"
#include "collectives/broadcast.h"
#include "collectives/host_communicator.h"
#include "collectives/ring.h"
#include "kernels/runtime/check.h"

namespace ringlet {
namespace {

class RingCollectives final : public HostCollectives {
 public:
  RingCollectives(std::unique_ptr<Transport> transport,
                  const CommunicatorOptions& options)
      : transport_(std::move(transport)),
        scratch_(options.slice_bytes, options.window) {}

  std::string name() const override { return "ring"; }
  int rank() const override { return transport_->rank(); }
  int size() const override { return transport_->size(); }

  void all_reduce(void* data, std::size_t count, Dtype dtype,
                  ReduceOp op) override {
    ring_all_reduce(*transport_, data, count, dtype, op, scratch_);
  }
  void broadcast(void* data, std::size_t bytes, int root) override {
    tree_broadcast(*transport_, data, bytes, root);
  }
  void barrier() override { dissemination_barrier(*transport_); }

  bool cancel() noexcept override {
    transport_->cancel();
    return true;
  }
  void set_urgent(bool urgent) override { transport_->set_urgent(urgent); }

 private:
  std::unique_ptr<Transport> transport_;
  RingScratch scratch_;
};

void check(const CommunicatorOptions& options) {
  constexpr std::size_t kLargestElement = 8;
  if (options.slice_bytes < kLargestElement) {
    throw Error(fmt::format("slice of {} bytes, expected at least {}",
                            options.slice_bytes, kLargestElement));
  }
  if (options.window < 1) {
    throw Error("window of 0 slices, expected at least 1");
  }
}

}  // namespace

std::unique_ptr<Communicator> make_ring_communicator(
    std::unique_ptr<Transport> transport, const CommunicatorOptions& options) {
  check(options);
  return std::make_unique<HostCommunicator>(
      std::make_unique<RingCollectives>(std::move(transport), options));
}

}  // namespace ringlet
