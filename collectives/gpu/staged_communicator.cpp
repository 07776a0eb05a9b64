#include "collectives/gpu/staged_communicator.h"

#include <algorithm>
#include <utility>

namespace ringlet {
namespace {

// The host's Work, and the way back.
class StagedWork final : public Work::State {
 public:
  StagedWork(Work host, void* to, Buffer staged, const void* from,
             std::size_t bytes)
      : host_(std::move(host)),
        to_(to),
        staged_(std::move(staged)),
        from_(from),
        bytes_(bytes) {}
  // After an error the host may still write there.
  ~StagedWork() override {
    if (!host_.done()) staged_.keep();
  }

  void wait() override {
    host_.wait();
    if (to_ == nullptr) return;
    copy_memory(to_, Device::kCuda, from_, Device::kCpu, bytes_);
    to_ = nullptr;
  }
  bool done() const override { return to_ == nullptr && host_.done(); }

 private:
  Work host_;
  void* to_;  // null once it is there
  Buffer staged_;
  const void* from_;
  std::size_t bytes_;
};

class StagedCommunicator final : public Communicator {
 public:
  explicit StagedCommunicator(Communicator& host) : host_(host) {}

  std::string name() const override { return host_.name(); }
  int rank() const override { return host_.rank(); }
  int size() const override { return host_.size(); }

  void run(const Collective& call) override { start(call).wait(); }

  Work start(const Collective& call) override {
    check_call(call, size());
    if (call.kind == CollectiveKind::kBarrier) return host_.start(call);
    if (size() == 1 && call.input == call.output) return {};
    const bool scatters = call.kind == CollectiveKind::kReduceScatter;
    const bool gathers = call.kind == CollectiveKind::kAllGather;
    const std::size_t part = call.count * size_of(call.dtype);
    const std::size_t all = part * static_cast<std::size_t>(size());
    const std::size_t own = part * static_cast<std::size_t>(rank());
    const std::size_t in = scatters ? all : part, out = gathers ? all : part;
    const Buffer staged = Buffer::allocate(std::max(in, out), Pages::kHuge);
    std::byte* input = staged.data() + (gathers ? own : 0);
    std::byte* output = staged.data() + (scatters ? own : 0);
    copy_memory(input, Device::kCpu, call.input, Device::kCuda, in);
    Collective on_host = call;
    on_host.device = Device::kCpu;
    on_host.input = input;
    on_host.output = output;
    return Work(std::make_shared<StagedWork>(host_.start(on_host), call.output,
                                             staged, output, out));
  }

  Buffer allocate(std::size_t bytes) override {
    return Buffer::allocate(bytes, Device::kCuda);
  }

 private:
  Communicator& host_;
};

}  // namespace

std::unique_ptr<Communicator> make_staged_communicator(Communicator& host) {
  return std::make_unique<StagedCommunicator>(host);
}

}  // namespace ringlet
