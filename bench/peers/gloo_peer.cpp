#include "bench/peers/gloo_peer.h"

#include <gloo/allreduce.h>
#include <gloo/math.h>
#include <gloo/rendezvous/context.h>
#include <gloo/rendezvous/file_store.h>
#include <gloo/transport/tcp/device.h>
#include <stdlib.h>

#include <filesystem>
#include <string>

#include "kernels/runtime/check.h"

namespace ringlet {
namespace {

// A folder that rank 0 makes and all ranks of the host know.
class MeetingPlace {
 public:
  explicit MeetingPlace(Communicator& ranks) : ranks_(ranks) {
    std::string path =
        (std::filesystem::temp_directory_path() / "gloo-XXXXXX").string();
    if (ranks.rank() == 0 && mkdtemp(path.data()) == nullptr) {
      throw Error(fmt::format("cannot make a folder like {}", path));
    }
    ranks.broadcast(path.data(), path.size(), 0);
    path_ = path;
  }
  ~MeetingPlace() {
    std::error_code ignored;
    if (ranks_.rank() == 0) std::filesystem::remove_all(path_, ignored);
  }

  const std::string& path() const { return path_; }

 private:
  Communicator& ranks_;
  std::string path_;
};

class GlooPeer final : public Communicator {
 public:
  GlooPeer() {
    const auto ranks = make_communicator("mpi");
    const MeetingPlace place(*ranks);
    gloo::rendezvous::FileStore store(place.path());
    gloo::transport::tcp::attr loopback;
    loopback.iface = "lo";
    auto context = std::make_shared<gloo::rendezvous::Context>(ranks->rank(),
                                                               ranks->size());
    if (ranks->size() > 1) {
      auto device = gloo::transport::tcp::CreateDevice(loopback);
      context->connectFullMesh(store, device);
    }
    context_ = context;
    ranks->barrier();
  }

  std::string name() const override { return "gloo"; }
  int rank() const override { return context_->rank; }
  int size() const override { return context_->size; }

  void run(const Collective& call) override {
    switch (call.dtype) {
      case Dtype::kF32:
        return sum<float>(call);
      case Dtype::kF64:
        return sum<double>(call);
      case Dtype::kI32:
        return sum<std::int32_t>(call);
      case Dtype::kI64:
        return sum<std::int64_t>(call);
      default:
        refuse(call);
    }
  }
  Work start(const Collective& call) override {
    run(call);
    return {};
  }

 private:
  [[noreturn]] static void refuse(const Collective& call) {
    throw Error(fmt::format(
        "gloo: {} {} of {}: expected an all_reduce sum of f32, f64, i32 or i64",
        name_of(call.kind), name_of(call.op), name_of(call.dtype)));
  }

  template <typename T>
  void sum(const Collective& call) {
    if (call.kind != CollectiveKind::kAllReduce || call.op != ReduceOp::kSum) {
      refuse(call);
    }
    if (size() == 1 || call.count == 0) return;
    gloo::AllreduceOptions options(context_);
    // Gloo takes no pointer to constants; it does not write to inputs.
    auto* input = static_cast<T*>(const_cast<void*>(call.input));
    if (call.input != call.output) options.setInput(input, call.count);
    options.setOutput(static_cast<T*>(call.output), call.count);
    options.setReduceFunction([](void* to, const void* a, const void* b,
                                 std::size_t n) { gloo::sum<T>(to, a, b, n); });
    gloo::allreduce(options);
  }

  std::shared_ptr<gloo::Context> context_;
};

}  // namespace

std::unique_ptr<Communicator> make_gloo_peer() {
  return std::make_unique<GlooPeer>();
}

}  // namespace ringlet
