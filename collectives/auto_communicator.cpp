#include "collectives/auto_communicator.h"

#include <cstdint>
#include <functional>
#include <vector>

#include "collectives/algorithm_communicator.h"
#include "collectives/host_communicator.h"
#include "collectives/ledger.h"
#include "collectives/mpi_communicator.h"
#include "collectives/mpi_transport.h"
#include "kernels/runtime/check.h"

namespace ringlet {
namespace {

class AutoCollectives final : public HostCollectives {
 public:
  AutoCollectives(const AlgorithmTable& table,
                  const CommunicatorOptions& options)
      : mpi_(make_mpi_collectives()),
        overlapped_(make_algorithm_collectives("ring", make_mpi_transport(),
                                               options, ledger_)) {
    const auto choices = table.for_ranks(mpi_->size());
    check_equal(choices);
    for (const AlgorithmChoice& choice : choices) {
      rows_.push_back({choice.from_bytes, make(choice, options)});
    }
  }

  std::string name() const override { return "auto"; }
  int rank() const override { return mpi_->rank(); }
  int size() const override { return mpi_->size(); }

  void run(const Collective& call) override { back_end_for(call).run(call); }

  // What MPI does cannot be cancelled, and it may be what is under way.
  bool cancel() noexcept override { return false; }
  void set_urgent(bool urgent) override {
    overlapped_->set_urgent(urgent);
    for (const Row& row : rows_) {
      if (row.ours) row.ours->set_urgent(urgent);
    }
  }

  Ledger* ledger() override { return ledger_.get(); }
  Recorder* recorder() override { return overlapped_->recorder(); }
  std::optional<ClockReading> measure_clock() override {
    return overlapped_->measure_clock();
  }

 private:
  struct Row {
    std::size_t from_bytes;
    std::unique_ptr<HostCollectives> ours;  // none: MPI's
  };

  HostCollectives& back_end_for(const Collective& call) const {
    if (call.kind != CollectiveKind::kAllReduce) return *mpi_;
    const std::size_t bytes = call.count * size_of(call.dtype);
    std::size_t row = 0;  // from the least up: small calls notice the search
    while (row + 1 < rows_.size() && rows_[row + 1].from_bytes <= bytes) ++row;
    if (rows_[row].ours) return *rows_[row].ours;
    return call.overlapped ? *overlapped_ : *mpi_;
  }

  std::unique_ptr<HostCollectives> make(
      const AlgorithmChoice& choice, const CommunicatorOptions& options) const {
    if (choice.algorithm == "mpi") return nullptr;
    CommunicatorOptions own = options;
    own.slice_bytes = choice.slice_bytes;
    return make_algorithm_collectives(choice.algorithm, make_mpi_transport(),
                                      own, ledger_);
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
  std::vector<Row> rows_;  // by rising from_bytes, the first from 0 on
};

}  // namespace

std::unique_ptr<Communicator> make_auto_communicator(
    const AlgorithmTable& table, const CommunicatorOptions& options) {
  return std::make_unique<HostCommunicator>(
      std::make_unique<AutoCollectives>(table, options));
}

}  // namespace ringlet
