#include "collectives/gpu/gpu_communicator.h"

#include <utility>

#include "collectives/gpu/staged_communicator.h"
#include "collectives/mpi_scope.h"
#include "kernels/runtime/check.h"
#include "kernels/runtime/recording.h"

namespace ringlet {
namespace {

// Of a call that is made each time the recording is launched.
class RecordedWork final : public Work::State {
 public:
  explicit RecordedWork(std::shared_ptr<Work> last) : last_(std::move(last)) {}

  void wait() override {
    RINGLET_CHECK(Recording::is_on(),
                  "a recorded collective is waited for where it was recorded");
    Recording::add([last = last_] { last->wait(); });
  }
  bool done() const override { return true; }

 private:
  std::shared_ptr<Work> last_;
};

class GpuCommunicator final : public Communicator {
 public:
  explicit GpuCommunicator(Communicator& host)
      : host_(host),
        staged_(host.takes(Device::kCuda) ? nullptr
                                          : make_staged_communicator(host)) {}

  std::string name() const override { return host_.name(); }
  int rank() const override { return host_.rank(); }
  int size() const override { return host_.size(); }

  void run(const Collective& call) override {
    if (!Recording::is_on()) return inner().run(on_gpu(call));
    if (size() == 1 && call.input == call.output) return;
    Recording::add([this, call] { inner().run(on_gpu(call)); });
  }
  Work start(const Collective& call) override {
    if (!Recording::is_on()) return inner().start(on_gpu(call));
    if (size() == 1 && call.input == call.output) return {};
    const auto last = std::make_shared<Work>();
    Recording::add([this, call, last] { *last = inner().start(on_gpu(call)); });
    return Work(std::make_shared<RecordedWork>(last));
  }
  Buffer allocate(std::size_t bytes) override {
    return Buffer::allocate(bytes, Device::kCuda);
  }

  const Ledger* ledger() const override { return host_.ledger(); }
  void clear_ledger() override { host_.clear_ledger(); }

 private:
  Communicator& inner() const { return staged_ ? *staged_ : host_; }

  static Collective on_gpu(Collective call) {
    if (call.kind != CollectiveKind::kBarrier) call.device = Device::kCuda;
    return call;
  }

  Communicator& host_;
  std::unique_ptr<Communicator> staged_;  // null where `host` takes such arrays
};

}  // namespace

int own_gpu() { return launch_info().local_rank % cuda::library().gpu_count(); }

void use_own_gpu() { cuda::library().use_gpu(own_gpu()); }

std::unique_ptr<Communicator> make_gpu_communicator(Communicator& host) {
  return std::make_unique<GpuCommunicator>(host);
}

}  // namespace ringlet
