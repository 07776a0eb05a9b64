#include "collectives/staged_communicator.h"

#include <vector>

namespace ringlet {
namespace {

std::size_t parts_of_input(const Collective& call, int ranks) {
  const bool all = call.kind == CollectiveKind::kReduceScatter;
  return all ? static_cast<std::size_t>(ranks) : 1;
}

std::size_t parts_of_output(const Collective& call, int ranks) {
  const bool all = call.kind == CollectiveKind::kAllGather;
  return all ? static_cast<std::size_t>(ranks) : 1;
}

// The host's Work, and the way back.
class StagedWork final : public Work::State {
 public:
  StagedWork(Work host, void* to, const Buffer& from, std::size_t offset,
             std::size_t bytes)
      : host_(std::move(host)),
        to_(to),
        from_(from),
        offset_(offset),
        bytes_(bytes) {}

  void wait() override {
    host_.wait();
    if (to_ == nullptr) return;
    copy_memory(to_, Device::kCuda, from_.data() + offset_, Device::kCpu,
                bytes_);
    to_ = nullptr;
  }
  bool done() const override { return to_ == nullptr && host_.done(); }

 private:
  Work host_;
  void* to_;
  Buffer from_;
  std::size_t offset_, bytes_;
};

class StagedCommunicator final : public Communicator {
 public:
  explicit StagedCommunicator(Communicator& host) : host_(host) {}

  std::string name() const override {
    return host_.name() + " by way of the host";
  }
  int rank() const override { return host_.rank(); }
  int size() const override { return host_.size(); }

  void run(const Collective& call) override { start(call).wait(); }

  // An array that lies in memory of allocate() is reduced in its double. Others
  // get one for as long as the call takes.
  Work start(const Collective& call) override {
    check_call(call, size());
    if (call.kind == CollectiveKind::kBarrier) return host_.start(call);
    if (size() == 1 && call.input == call.output) return {};
    const std::size_t element = size_of(call.dtype);
    const std::size_t in = parts_of_input(call, size()) * call.count * element;
    const std::size_t out =
        parts_of_output(call, size()) * call.count * element;
    const auto [memory, offset] = double_of(call, std::max(in, out));
    std::byte* staged = memory.data() + offset;
    Collective on_host = call;
    on_host.device = Device::kCpu;
    on_host.input = on_host.output = staged;
    if (call.kind == CollectiveKind::kReduceScatter) {
      on_host.output = staged + own_part(out);
    } else if (call.kind == CollectiveKind::kAllGather) {
      on_host.input = staged + own_part(in);
    }
    copy_memory(const_cast<void*>(on_host.input), Device::kCpu, call.input,
                Device::kCuda, in);
    const auto from = static_cast<std::size_t>(
        static_cast<std::byte*>(on_host.output) - memory.data());
    return Work(std::make_shared<StagedWork>(host_.start(on_host), call.output,
                                             memory, from, out));
  }

  Buffer allocate(std::size_t bytes) override {
    const Buffer device = Buffer::allocate(bytes, Device::kCuda);
    doubles_.push_back({device, host_.allocate(bytes)});
    return device;
  }

 private:
  struct Double {
    Buffer device, host;
  };

  std::size_t own_part(std::size_t bytes) const {
    return static_cast<std::size_t>(rank()) * bytes;
  }

  std::pair<Buffer, std::size_t> double_of(const Collective& call,
                                           std::size_t bytes) const {
    if (call.input == call.output) {
      const auto* data = static_cast<const std::byte*>(call.input);
      for (const auto& [device, host] : doubles_) {
        if (data < device.data() ||
            data + bytes > device.data() + device.bytes())
          continue;
        return {host, static_cast<std::size_t>(data - device.data())};
      }
    }
    return {Buffer::allocate(bytes), 0};
  }

  Communicator& host_;
  std::vector<Double> doubles_;
};

}  // namespace

std::unique_ptr<Communicator> make_staged_communicator(Communicator& host) {
  return std::make_unique<StagedCommunicator>(host);
}

}  // namespace ringlet
