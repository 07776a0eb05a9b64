#include "collectives/auto_communicator.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <vector>

#include "collectives/algorithm_communicator.h"
#include "collectives/hierarchical_collectives.h"
#include "collectives/host_communicator.h"
#include "collectives/ledger.h"
#include "collectives/mpi_communicator.h"
#include "collectives/mpi_transport.h"
#include "collectives/shared_collectives.h"
#include "kernels/runtime/check.h"

namespace ringlet {
namespace {

class AutoCollectives final : public HostCollectives {
 public:
  AutoCollectives(const AlgorithmTable* table,
                  const CommunicatorOptions& options)
      : mpi_(make_mpi_collectives()),
        overlapped_(make_algorithm_collectives("ring", make_mpi_transport(),
                                               options, ledger_)) {
    share_memory(options);
    if (table == nullptr) table = &AlgorithmTable::built_in(place_);
    const auto choices = table->for_ranks(mpi_->size());
    check_equal(choices);
    for (const AlgorithmChoice& choice : choices) {
      rows_.push_back({choice.from_bytes, back_end_of(choice, options)});
    }
  }

  std::string name() const override { return "auto"; }
  int rank() const override { return mpi_->rank(); }
  int size() const override { return mpi_->size(); }

  // Arrays on a GPU go round our ring.
  bool takes(Device) const override { return true; }
  void run(const Collective& call) override {
    HostCollectives& chosen = back_end_for(call);
    under_way_ = &chosen;
    if (cancelled_) throw Cancelled("gave up waiting for another rank");
    chosen.run(call);
  }

  void finish() override { overlapped_->finish(); }

  // What MPI does cannot be cancelled.
  bool cancel() noexcept override {
    cancelled_ = true;
    HostCollectives* current = under_way_;
    return current == nullptr || current->cancel();
  }
  void set_urgent(bool urgent) override {
    for (const auto* back_end : {&shared_, &hierarchical_}) {
      if (*back_end) (*back_end)->set_urgent(urgent);
    }
    overlapped_->set_urgent(urgent);
    for (const auto& back_end : ours_) back_end->set_urgent(urgent);
  }

  int waiting_for() const override {
    const HostCollectives* current = under_way_;
    return current == nullptr ? kNobody : current->waiting_for();
  }
  bool agrees_on_calls() const override {
    return shared_ &&
           std::all_of(rows_.begin(), rows_.end(), [&](const Row& r) {
             return r.back_end == shared_.get();
           });
  }

  Buffer allocate(std::size_t bytes) override {
    if (shared_) return shared_->allocate(bytes);
    if (hierarchical_) return hierarchical_->allocate(bytes);
    return HostCollectives::allocate(bytes);
  }

  Ledger* ledger() override { return ledger_.get(); }
  Recorder* recorder() override { return overlapped_->recorder(); }
  std::optional<ClockReading> measure_clock() override {
    return overlapped_->measure_clock();
  }

 private:
  struct Row {
    std::size_t from_bytes;
    HostCollectives* back_end;
  };

  // Where that cannot be, messages do, and one rank says why.
  void share_memory(const CommunicatorOptions& options) {
    if (!options.share_memory) return;
    auto transport = make_mpi_transport();
    CommunicatorOptions own = options;
    own.memory = mpi_host_memory(*transport);
    using Place = AlgorithmTable::Place;
    const bool one_host = own.memory->size() == size();
    try {
      if (one_host) {
        shared_ = make_shared_collectives(std::move(transport), own, ledger_);
        place_ = Place::kSharedMemory;
        return;
      }
      place_ = Place::kHosts;
      hierarchical_ =
          make_hierarchical_collectives(std::move(transport), own, ledger_);
      if (own.memory->size() > 1) place_ = Place::kHostsOfSeveral;
    } catch (const Error& error) {
      if (rank() > 0) return;
      fmt::print(stderr, "ringlet: warning: all-reduce by messages, since {}\n",
                 error.what());
    }
  }

  HostCollectives& back_end_for(const Collective& call) const {
    if (call.device == Device::kCuda) return *overlapped_;
    if (call.kind != CollectiveKind::kAllReduce) {
      return shared_ ? *shared_ : *mpi_;
    }
    const std::size_t bytes = call.count * size_of(call.dtype);
    std::size_t row = 0;  // from the least up: small calls notice the search
    while (row + 1 < rows_.size() && rows_[row + 1].from_bytes <= bytes) ++row;
    HostCollectives* chosen = rows_[row].back_end;
    const bool ours = call.overlapped || call.wire != Dtype::kF32;
    return chosen == mpi_.get() && ours ? *overlapped_ : *chosen;
  }

  HostCollectives* back_end_of(const AlgorithmChoice& choice,
                               const CommunicatorOptions& options) {
    if (choice.algorithm == "mpi") return mpi_.get();
    const bool shared = choice.algorithm == "shared";
    if (shared || choice.algorithm == "hierarchical") {
      const auto& back_end = shared ? shared_ : hierarchical_;
      if (back_end) return back_end.get();
      throw Error(
          fmt::format("the table of algorithms has {}, which is not to be had",
                      choice.algorithm));
    }
    CommunicatorOptions own = options;
    own.slice_bytes = choice.slice_bytes;
    ours_.push_back(make_algorithm_collectives(
        choice.algorithm, make_mpi_transport(), own, ledger_));
    return ours_.back().get();
  }

  void check_equal(const std::vector<AlgorithmChoice>& choices) {
    const AlgorithmTable row(choices, "the table of algorithms");
    const auto hash =
        static_cast<std::int64_t>(std::hash<std::string>{}(row.to_json()) >> 1);
    // The least of h and of -h: h and -h where all have the same.
    std::int64_t least[] = {hash, -hash};
    mpi_->run({CollectiveKind::kAllReduce, least, least, 2, Dtype::kI64,
               ReduceOp::kMin});
    RINGLET_CHECK(least[0] == -least[1],
                  "ranks have different tables of algorithms; rank {} has {}",
                  rank(), row.to_json());
  }

  std::shared_ptr<Ledger> ledger_ = std::make_shared<Ledger>();
  std::unique_ptr<HostCollectives> mpi_;
  std::unique_ptr<HostCollectives> overlapped_;
  std::unique_ptr<HostCollectives> shared_;  // where all ranks share memory
  std::unique_ptr<HostCollectives> hierarchical_;  // on several hosts
  AlgorithmTable::Place place_ = AlgorithmTable::Place::kOneHost;
  std::vector<std::unique_ptr<HostCollectives>> ours_;
  std::vector<Row> rows_;  // by rising from_bytes, the first from 0 on
  std::atomic<HostCollectives*> under_way_ = nullptr;
  std::atomic<bool> cancelled_ = false;
};

}  // namespace

std::unique_ptr<HostCollectives> make_auto_collectives(
    const AlgorithmTable* table, const CommunicatorOptions& options) {
  return std::make_unique<AutoCollectives>(table, options);
}

}  // namespace ringlet
