#include "collectives/algorithm_communicator.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "collectives/barrier.h"
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
        transport_(std::move(transport)),
        journal_(*transport_, options.recorder, std::move(ledger)),
        scratch_(options.slice_bytes, options.window,
                 algorithm_ == kOrdered ? ordered_slots(size()) : 0) {}

  std::string name() const override { return algorithm_; }
  int rank() const override { return transport_->rank(); }
  int size() const override { return transport_->size(); }

  void run(const Collective& call) override {
    journal_.begin_call(call);
    carry_out(call);
    journal_.end_call();
  }

  bool cancel() noexcept override {
    transport_->cancel();
    return true;
  }
  void set_urgent(bool urgent) override { transport_->set_urgent(urgent); }
  int waiting_for() const override { return transport_->waiting_for(); }

  Ledger* ledger() override { return &journal_.ledger(); }
  Recorder* recorder() override { return journal_.recorder(); }
  std::optional<ClockReading> measure_clock() override {
    return ringlet::measure_clock(*transport_);
  }

 private:
  void carry_out(const Collective& call) {
    switch (call.kind) {
      case CollectiveKind::kAllReduce:
        return all_reduce(call);
      case CollectiveKind::kReduceScatter:
        return reduce_scatter(call);
      case CollectiveKind::kAllGather:
        return all_gather(call);
      case CollectiveKind::kReduce:
        return reduce_to_root(call);
      case CollectiveKind::kBroadcast:
        return broadcast(call);
      case CollectiveKind::kBarrier:
        return dissemination_barrier(journal_);
    }
  }

  std::size_t slice_elements(const Collective& call) const {
    return scratch_.slice_bytes / size_of(call.dtype);
  }

  void run_on(const Schedule& schedule, void* data, const Collective& call) {
    run_schedule(schedule, journal_, data, call.dtype, call.op, scratch_);
  }

  void divide_if_average(void* data, std::size_t count,
                         const Collective& call) const {
    if (call.op == ReduceOp::kAvg) {
      scale(data, count, call.dtype, 1.0 / size());
    }
  }

  void all_reduce(const Collective& call) {
    copy(call.output, call.input, call.count, call.dtype);
    if (algorithm_ == kOrdered) {
      ordered_all_reduce(journal_, call.output, call.count, call.dtype, call.op,
                         scratch_);
    } else {
      run_on(*make_schedule(algorithm_, rank(), size(), call.count,
                            slice_elements(call)),
             call.output, call);
    }
    divide_if_average(call.output, call.count, call);
  }

  // The ring adds in place, so an input that must stay is copied first.
  void reduce_scatter(const Collective& call) {
    const std::size_t bytes = call.count * size_of(call.dtype);
    const std::size_t total = call.count * static_cast<std::size_t>(size());
    const std::size_t own = static_cast<std::size_t>(rank()) * bytes;
    const auto* input = static_cast<const std::byte*>(call.input);
    const bool in_place = input + own == call.output;
    if (!in_place && copy_.bytes() < total * size_of(call.dtype)) {
      copy_ = Buffer::allocate(total * size_of(call.dtype));
    }
    std::byte* data =
        in_place ? static_cast<std::byte*>(call.output) - own : copy_.data();
    copy(data, input, total, call.dtype);
    const RingSchedule schedule(rank(), size(), total, slice_elements(call),
                                RingSchedule::Part::kReduceScatter);
    run_on(schedule, data, call);
    copy(call.output, data + own, call.count, call.dtype);
    divide_if_average(call.output, call.count, call);
  }

  void all_gather(const Collective& call) {
    const std::size_t bytes = call.count * size_of(call.dtype);
    copy(static_cast<std::byte*>(call.output) +
             static_cast<std::size_t>(rank()) * bytes,
         call.input, call.count, call.dtype);
    const RingSchedule schedule(
        rank(), size(), call.count * static_cast<std::size_t>(size()),
        slice_elements(call), RingSchedule::Part::kAllGather);
    run_on(schedule, call.output, call);
  }

  void reduce_to_root(const Collective& call) {
    const TreeSchedule schedule(rank(), size(), call.count,
                                slice_elements(call),
                                TreeSchedule::Part::kReduce, call.root);
    run_on(schedule, call.output, call);
    if (rank() == call.root) divide_if_average(call.output, call.count, call);
  }

  void broadcast(const Collective& call) {
    const TreeSchedule schedule(rank(), size(), call.count,
                                slice_elements(call),
                                TreeSchedule::Part::kBroadcast, call.root);
    run_on(schedule, call.output, call);
  }

  static void copy(void* target, const void* source, std::size_t count,
                   Dtype dtype) {
    if (target == source || count == 0) return;
    std::memcpy(target, source, count * size_of(dtype));
  }

  std::string algorithm_;
  std::unique_ptr<Transport> transport_;
  Journal journal_;
  Scratch scratch_;
  Buffer copy_;  // of an input; grows to the largest
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
