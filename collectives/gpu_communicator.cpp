#include "collectives/gpu_communicator.h"

#include "collectives/mpi_scope.h"
#include "collectives/staged_communicator.h"
#include "kernels/runtime/cuda_library.h"

namespace ringlet {
namespace {

class GpuCommunicator final : public Communicator {
 public:
  explicit GpuCommunicator(Communicator& host) : host_(host) {}

  std::string name() const override { return host_.name(); }
  int rank() const override { return host_.rank(); }
  int size() const override { return host_.size(); }

  void run(const Collective& call) override { host_.run(on_gpu(call)); }
  Work start(const Collective& call) override {
    return host_.start(on_gpu(call));
  }
  Buffer allocate(std::size_t bytes) override {
    return Buffer::allocate(bytes, Device::kCuda);
  }

  const Ledger* ledger() const override { return host_.ledger(); }
  void clear_ledger() override { host_.clear_ledger(); }

 private:
  static Collective on_gpu(Collective call) {
    if (call.kind != CollectiveKind::kBarrier) call.device = Device::kCuda;
    return call;
  }

  Communicator& host_;
};

}  // namespace

int own_gpu() {
  return launch_info().local_rank % cuda::library().gpu_count();
}

void use_own_gpu() { cuda::library().use_gpu(own_gpu()); }

std::unique_ptr<Communicator> make_gpu_communicator(Communicator& host) {
  if (!host.takes(Device::kCuda)) return make_staged_communicator(host);
  return std::make_unique<GpuCommunicator>(host);
}

}  // namespace ringlet
