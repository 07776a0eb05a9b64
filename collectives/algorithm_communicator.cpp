#include "collectives/algorithm_communicator.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "collectives/barrier.h"
#include "collectives/gpu/gpu_transport.h"
#include "collectives/hierarchical_collectives.h"
#include "collectives/journal.h"
#include "collectives/ordered.h"
#include "collectives/run_schedule.h"
#include "collectives/schedules.h"
#include "collectives/shared_collectives.h"
#include "kernels/runtime/check.h"

namespace ringlet {
namespace {

constexpr const char* kOrdered = "ordered";
constexpr const char* kShared = "shared";
constexpr const char* kHierarchical = "hierarchical";
constexpr std::size_t kLargestSlice = 1 << 30;

class AlgorithmCollectives final : public HostCollectives {
 public:
  AlgorithmCollectives(std::string algorithm,
                       std::unique_ptr<Transport> transport,
                       const CommunicatorOptions& options,
                       std::shared_ptr<Ledger> ledger)
      : algorithm_(std::move(algorithm)),
        options_(options),
        transport_(std::move(transport)),
        gpu_transport_(*transport_),
        host_{{*transport_, options.recorder, std::move(ledger)},
              {options.slice_bytes, options.window, more_slots()}} {}

  std::string name() const override { return algorithm_; }
  int rank() const override { return transport_->rank(); }
  int size() const override { return transport_->size(); }

  bool takes(Device) const override { return true; }
  void run(const Collective& call) override {
    Means& means = call.device == Device::kCpu ? host_ : means_on_gpu();
    means.journal.begin_call(call);
    carry_out(call, means);
    means.journal.end_call();
  }
  void finish() override { gpu_transport_.close(); }

  bool cancel() noexcept override {
    transport_->cancel();
    return true;
  }
  void set_urgent(bool urgent) override {
    transport_->set_urgent(urgent);
    gpu_transport_.set_urgent(urgent);
  }
  int waiting_for() const override {
    const int peer = gpu_transport_.waiting_for();
    return peer != kNobody ? peer : transport_->waiting_for();
  }

  Ledger* ledger() override { return &host_.journal.ledger(); }
  Recorder* recorder() override { return host_.journal.recorder(); }
  std::optional<ClockReading> measure_clock() override {
    return ringlet::measure_clock(*transport_);
  }

 private:
  // What calls on one device are carried out with.
  struct Means {
    Journal journal;
    Scratch scratch;
    Buffer copy = {};  // of an input; grows to the largest

    Device device() const { return scratch.device(); }
  };

  std::size_t more_slots() const {
    return algorithm_ == kOrdered ? ordered_slots(size()) : 0;
  }

  // Made at the first call, to which all ranks come.
  Means& means_on_gpu() {
    if (!gpu_) {
      gpu_transport_.connect(options_.slice_bytes, options_.ipc);
      gpu_.emplace(Means{
          {gpu_transport_, options_.recorder, host_.journal.shared_ledger()},
          {options_.slice_bytes, std::max(options_.window, kGpuWindow),
           more_slots(), Device::kCuda}});
    }
    return *gpu_;
  }

  void carry_out(const Collective& call, Means& means) {
    switch (call.kind) {
      case CollectiveKind::kAllReduce:
        return all_reduce(call, means);
      case CollectiveKind::kReduceScatter:
        return reduce_scatter(call, means);
      case CollectiveKind::kAllGather:
        return all_gather(call, means);
      case CollectiveKind::kReduce:
        return reduce_to_root(call, means);
      case CollectiveKind::kBroadcast:
        return broadcast(call, means);
      case CollectiveKind::kBarrier:
        return dissemination_barrier(means.journal);
    }
  }

  static std::size_t slice_elements(const Collective& call,
                                    const Means& means) {
    return means.scratch.slice_bytes / size_of(call.dtype);
  }

  static void run_on(const Schedule& schedule, void* data,
                     const Collective& call, Means& means) {
    run_schedule(schedule, means.journal, data, call.dtype, call.op,
                 means.scratch);
  }

  void divide_if_average(void* data, std::size_t count,
                         const Collective& call) const {
    if (call.op == ReduceOp::kAvg) {
      scale(call.device, data, count, call.dtype, 1.0 / size());
    }
  }

  void all_reduce(const Collective& call, Means& means) {
    if (call.wire != Dtype::kF32 && size() > 1) {
      return narrow_all_reduce(call, means);
    }
    copy(call.output, call.input, call.count, call);
    if (algorithm_ == kOrdered) {
      ordered_all_reduce(means.journal, call.output, call.count, call.dtype,
                         call.op, means.scratch);
    } else {
      run_on(*make_schedule(algorithm_, rank(), size(), call.count,
                            slice_elements(call, means)),
             call.output, call, means);
    }
    divide_if_average(call.output, call.count, call);
  }

  // All ranks, the owner of a sum too, widen the same 16 bits: so all end with
  // the same.
  void narrow_all_reduce(const Collective& call, Means& means) {
    const bool average = call.op == ReduceOp::kAvg;
    grow_copy(call.count * size_of(call.wire), means);
    Collective narrowed = call;
    narrowed.input = narrowed.output = means.copy.data();
    narrowed.dtype = call.wire;
    narrowed.wire = Dtype::kF32;
    narrowed.op = ReduceOp::kSum;
    narrow(call.device, narrowed.output, call.wire,
           static_cast<const float*>(call.input), call.count,
           average ? 1.0f / static_cast<float>(size()) : 1.0f);
    all_reduce(narrowed, means);
    widen(call.device, static_cast<float*>(call.output), narrowed.output,
          call.wire, call.count);
  }

  static void grow_copy(std::size_t bytes, Means& means) {
    if (means.copy.bytes() >= bytes) return;
    synchronize(means.device());  // with what still uses the former one
    means.copy = Buffer::allocate(bytes, means.device());
  }

  // The ring adds in place, so an input that must stay is copied first.
  void reduce_scatter(const Collective& call, Means& means) {
    const std::size_t bytes = call.count * size_of(call.dtype);
    const std::size_t total = call.count * static_cast<std::size_t>(size());
    const std::size_t own = static_cast<std::size_t>(rank()) * bytes;
    const auto* input = static_cast<const std::byte*>(call.input);
    const bool in_place = input + own == call.output;
    if (!in_place) grow_copy(total * size_of(call.dtype), means);
    std::byte* data = in_place ? static_cast<std::byte*>(call.output) - own
                               : means.copy.data();
    copy(data, input, total, call);
    const RingSchedule schedule(rank(), size(), total,
                                slice_elements(call, means),
                                RingSchedule::Part::kReduceScatter);
    run_on(schedule, data, call, means);
    copy(call.output, data + own, call.count, call);
    divide_if_average(call.output, call.count, call);
  }

  void all_gather(const Collective& call, Means& means) {
    const std::size_t bytes = call.count * size_of(call.dtype);
    copy(static_cast<std::byte*>(call.output) +
             static_cast<std::size_t>(rank()) * bytes,
         call.input, call.count, call);
    const RingSchedule schedule(
        rank(), size(), call.count * static_cast<std::size_t>(size()),
        slice_elements(call, means), RingSchedule::Part::kAllGather);
    run_on(schedule, call.output, call, means);
  }

  void reduce_to_root(const Collective& call, Means& means) {
    const TreeSchedule schedule(rank(), size(), call.count,
                                slice_elements(call, means),
                                TreeSchedule::Part::kReduce, call.root);
    run_on(schedule, call.output, call, means);
    if (rank() == call.root) divide_if_average(call.output, call.count, call);
  }

  void broadcast(const Collective& call, Means& means) {
    const TreeSchedule schedule(rank(), size(), call.count,
                                slice_elements(call, means),
                                TreeSchedule::Part::kBroadcast, call.root);
    run_on(schedule, call.output, call, means);
  }

  static void copy(void* target, const void* source, std::size_t count,
                   const Collective& call) {
    if (target == source) return;
    copy_memory(target, call.device, source, call.device,
                count * size_of(call.dtype));
  }

  // One slice comes from the GPU, one is on its way, and one is added.
  static constexpr std::size_t kGpuWindow = 3;

  std::string algorithm_;
  CommunicatorOptions options_;
  std::unique_ptr<Transport> transport_;
  GpuTransport gpu_transport_;
  Means host_;
  std::optional<Means> gpu_;  // none before the first call
};

void check(const std::string& algorithm, const CommunicatorOptions& options) {
  const std::vector<std::string>& known = algorithm_names();
  if (std::find(known.begin(), known.end(), algorithm) == known.end()) {
    throw Error(fmt::format("unknown all-reduce algorithm '{}', expected {}",
                            algorithm, fmt::join(known, ", ")));
  }
  check_slice_bytes(options.slice_bytes, algorithm);
  if (options.window < 1) {
    throw Error("window of 0 slices, expected at least 1");
  }
}

}  // namespace

const std::vector<std::string>& algorithm_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all = schedule_names();
    all.emplace_back(kShared);
    all.emplace_back(kHierarchical);
    return all;
  }();
  return names;
}

void check_slice_bytes(std::size_t bytes, const std::string& source) {
  if (bytes < Scratch::kLargestElement || bytes > kLargestSlice) {
    throw Error(fmt::format("{}: a slice of {} bytes, expected {} to {}",
                            source, bytes, Scratch::kLargestElement,
                            kLargestSlice));
  }
}

std::unique_ptr<HostCollectives> make_algorithm_collectives(
    const std::string& algorithm, std::unique_ptr<Transport> transport,
    const CommunicatorOptions& options, std::shared_ptr<Ledger> ledger) {
  check(algorithm, options);
  if (algorithm == kShared) {
    return make_shared_collectives(std::move(transport), options,
                                   std::move(ledger));
  }
  if (algorithm == kHierarchical) {
    return make_hierarchical_collectives(std::move(transport), options,
                                         std::move(ledger));
  }
  return std::make_unique<AlgorithmCollectives>(algorithm, std::move(transport),
                                                options, std::move(ledger));
}

std::unique_ptr<Communicator> make_algorithm_communicator(
    const std::string& algorithm, std::unique_ptr<Transport> transport,
    const CommunicatorOptions& options) {
  return std::make_unique<HostCommunicator>(make_algorithm_collectives(
      algorithm, std::move(transport), options, std::make_shared<Ledger>()));
}

}  // namespace ringlet
