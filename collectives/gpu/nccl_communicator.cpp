#include "collectives/gpu/nccl_communicator.h"

#include <fmt/format.h>

#include <array>
#include <cstring>
#include <utility>
#include <vector>

#include "collectives/gpu/nccl_library.h"
#include "kernels/reduce.h"
#include "kernels/runtime/cuda_library.h"
#include "kernels/runtime/plugin.h"

// As in kernels/runtime/cuda_library.cpp: a program may bring its own.
extern "C" __attribute__((weak)) ringlet::NcclLibrary* ringlet_nccl_library();

namespace ringlet {
namespace {

Plugin load() {
  if (ringlet_nccl_library != nullptr) return {ringlet_nccl_library(), ""};
  const std::string file = RINGLET_NCCL_LIBRARY;
  if (file.empty()) return {nullptr, "Ringlet was built without NCCL"};
  return load_plugin(file.c_str(), "ringlet_nccl_library");
}

const Plugin& plugin() {
  static const Plugin result = load();
  return result;
}

NcclLibrary& library() {
  if (plugin().table == nullptr) throw Error("no NCCL: " + plugin().why_not);
  return *static_cast<NcclLibrary*>(plugin().table);
}

// What a rank has called so far.
struct Calls {
  std::uint64_t count = 0;
  std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a of all descriptions
  std::array<char, 112> last{};

  void add(const std::string& description) {
    constexpr std::uint64_t kPrime = 0x100000001b3;
    ++count;
    for (const char c : description + "\n") {
      hash = (hash ^ static_cast<unsigned char>(c)) * kPrime;
    }
    last.fill('\0');
    std::memcpy(last.data(), description.data(),
                std::min(description.size(), last.size() - 1));
  }
};

// Its result comes in 16 bits, in `copy`, and is widened by who waits.
class WidenedWork final : public Work::State {
 public:
  WidenedWork(Work inner, Buffer copy, const Collective& call)
      : inner_(std::move(inner)), copy_(std::move(copy)), call_(call) {}

  void wait() override {
    if (waited_) return;
    inner_.wait();
    widen(Device::kCuda, static_cast<float*>(call_.output), copy_.data(),
          call_.wire, call_.count);
    waited_ = true;
  }
  bool done() const override { return waited_ && inner_.done(); }

 private:
  Work inner_;
  Buffer copy_;
  Collective call_;
  bool waited_ = false;
};

class NcclCommunicator final : public Communicator {
 public:
  explicit NcclCommunicator(Communicator& host)
      : host_(host), rank_(connect(host)) {}

  std::string name() const override { return "nccl"; }
  int rank() const override { return host_.rank(); }
  int size() const override { return host_.size(); }

  void run(const Collective& call) override { start(call).wait(); }

  Work start(const Collective& call) override {
    check_call(call, size());
    if (call.kind == CollectiveKind::kBarrier) return host_.start(call);
    calls_.add(describe(call));
    if (calls_.count % kCallsToCompare == 0) agree_on_calls();
    if (call.wire != Dtype::kF32 && size() > 1) return start_narrowed(call);
    return rank_->start(call);
  }

  Buffer allocate(std::size_t bytes) override {
    return Buffer::allocate(bytes, Device::kCuda);
  }

  void agree_on_calls() override {
    std::vector<Calls> all(static_cast<std::size_t>(size()));
    host_.all_gather(&calls_, all.data(), sizeof(Calls), Dtype::kU8);
    std::string text;
    bool same = true;
    for (std::size_t rank = 0; rank < all.size(); ++rank) {
      const Calls& calls = all[rank];
      same = same && calls.count == calls_.count && calls.hash == calls_.hash;
      text +=
          fmt::format("{} rank {} {} calls, the last {}", rank > 0 ? ";" : "",
                      rank, calls.count, calls.last.data());
    }
    if (!same)
      throw MismatchError("ranks differ in their calls of NCCL:" + text);
  }

  void set_training_step(std::int64_t step) override {
    host_.set_training_step(step);
  }

 private:
  Work start_narrowed(const Collective& call) {
    const Buffer copy = allocate(call.count * size_of(call.wire));
    Collective narrowed = call;
    narrowed.input = narrowed.output = copy.data();
    narrowed.dtype = call.wire;
    narrowed.op = ReduceOp::kSum;
    const float share = 1.0f / static_cast<float>(size());
    narrow(Device::kCuda, copy.data(), call.wire,
           static_cast<const float*>(call.input), call.count,
           call.op == ReduceOp::kAvg ? share : 1.0f);
    return Work(
        std::make_shared<WidenedWork>(rank_->start(narrowed), copy, call));
  }

  static std::unique_ptr<NcclRank> connect(Communicator& host) {
    std::array<char, NcclLibrary::kIdBytes> id{};
    if (host.rank() == 0) library().make_id(id.data());
    host.broadcast(id.data(), id.size(), 0);
    return library().connect(id.data(), host.rank(), host.size(),
                             cuda::library().stream());
  }

  Communicator& host_;
  std::unique_ptr<NcclRank> rank_;
  Calls calls_;
};

}  // namespace

std::string why_no_nccl() { return plugin().why_not; }

std::string nccl_version() { return library().version(); }

std::unique_ptr<Communicator> make_nccl_communicator(Communicator& host) {
  return std::make_unique<NcclCommunicator>(host);
}

}  // namespace ringlet
