#include "collectives/hierarchical_collectives.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "collectives/algorithm_communicator.h"
#include "collectives/host_groups.h"
#include "collectives/shared_collectives.h"
#include "kernels/runtime/error.h"

namespace ringlet {
namespace {

// All-reduce between hosts that have several ranks each
// ------------------------------------------------------
// A link between hosts is slow and shared by the ranks of a host, their memory
// is fast. So each host adds first what its ranks have, and only one array per
// host crosses the links: with L ranks on a host, a flat ring sends almost
// L times as much through each link. Two hosts with two ranks each:
//
//            host A                          host B
//     rank 0         rank 1           rank 2         rank 3
//     a0 a1          b0 b1            c0 c1          d0 d1
//     |      in memory     |          |      in memory     |
//     a0+b0          a1+b1            c0+d0          c1+d1
//     |               `------ ring of ranks 1, 3 -----'   |
//     `---------------------- ring of ranks 0, 2 --.      |
//     SUM0           SUM1             SUM0 <-------'  SUM1
//     |      in memory     |          |      in memory     |
//     SUM0 SUM1      SUM0 SUM1        SUM0 SUM1      SUM0 SUM1
//
// Rank l of each host owns slice l. It adds its host's arrays in `ordered`'s
// tree, all-reduces the slice with the owners of that slice on the other hosts,
// and writes it to its neighbours. The owners' rings run side by side.

// Between hosts: up to here what counts is the number of messages on the way.
constexpr std::size_t kLatencyBytes = 64 << 10;

class HierarchicalCollectives final : public HostCollectives {
 public:
  HierarchicalCollectives(std::shared_ptr<Transport> all,
                          const CommunicatorOptions& options,
                          std::shared_ptr<Ledger> ledger)
      : all_(std::move(all)), ledger_(std::move(ledger)) {
    const auto hosts = group_by_host(*all_, all_->host_ranks());
    std::vector<int> everybody;
    for (const auto& ranks : hosts) {
      if (ranks.size() != hosts[0].size()) {
        throw Error(fmt::format(
            "hierarchical: expected the same number of ranks on each host; "
            "rank {}'s has {}, rank {}'s has {}",
            hosts[0][0], hosts[0].size(), ranks[0], ranks.size()));
      }
      everybody.insert(everybody.end(), ranks.begin(), ranks.end());
    }
    std::sort(everybody.begin(), everybody.end());
    const std::vector<int> owners = owners_of_slice(hosts);
    const auto make = [&](const char* algorithm,
                          const std::vector<int>& ranks) {
      return make_algorithm_collectives(
          algorithm, std::make_unique<SubsetTransport>(all_, ranks), options,
          ledger_);
    };
    flat_ = make("ring", everybody);
    ring_ = make("ring", owners);
    few_messages_ = make("recursive_doubling", owners);
    host_ = make_shared_collectives(
        std::make_unique<SubsetTransport>(all_, everybody), options, ledger_,
        [this](void* data, std::size_t count, const Collective& call) {
          between_hosts(data, count, call);
        });
  }

  std::string name() const override { return "hierarchical"; }
  int rank() const override { return all_->rank(); }
  int size() const override { return all_->size(); }

  void run(const Collective& call) override {
    if (call.kind != CollectiveKind::kAllReduce) return flat_->run(call);
    Collective sum = call;
    average_ = call.op == ReduceOp::kAvg;
    if (average_) sum.op = ReduceOp::kSum;
    host_->run(sum);
  }

  Buffer allocate(std::size_t bytes) override { return host_->allocate(bytes); }

  bool cancel() noexcept override {
    all_->cancel();
    return host_->cancel();
  }
  void set_urgent(bool urgent) override { host_->set_urgent(urgent); }
  int waiting_for() const override {
    const int on_host = host_->waiting_for();
    return on_host != kNobody ? on_host : all_->waiting_for();
  }

  Ledger* ledger() override { return ledger_.get(); }
  Recorder* recorder() override { return flat_->recorder(); }
  std::optional<ClockReading> measure_clock() override {
    return flat_->measure_clock();
  }

 private:
  std::vector<int> owners_of_slice(
      const std::vector<std::vector<int>>& hosts) const {
    std::size_t slice = 0;
    for (const auto& ranks : hosts) {
      const auto self = std::find(ranks.begin(), ranks.end(), rank());
      if (self == ranks.end()) continue;
      slice = static_cast<std::size_t>(self - ranks.begin());
    }
    std::vector<int> owners;
    for (const auto& ranks : hosts) owners.push_back(ranks[slice]);
    return owners;
  }

  // The number of elements is the same on all owners, and so is what they take.
  void between_hosts(void* data, std::size_t count, const Collective& call) {
    Collective own = call;
    own.input = own.output = data;
    own.count = count;
    const bool rounds = call.wire != Dtype::kF32;
    if (average_ && rounds) scale(data, count, call.dtype, 1.0 / size());
    const bool few = count * size_of(call.dtype) <= kLatencyBytes;
    (few ? few_messages_ : ring_)->run(own);
    if (average_ && !rounds) scale(data, count, call.dtype, 1.0 / size());
  }

  std::shared_ptr<Transport> all_;
  std::shared_ptr<Ledger> ledger_;
  std::unique_ptr<HostCollectives> flat_;          // all ranks
  std::unique_ptr<HostCollectives> ring_;          // of a slice's owners
  std::unique_ptr<HostCollectives> few_messages_;  // likewise
  std::unique_ptr<HostCollectives> host_;
  bool average_ = false;  // the call under way
};

}  // namespace

std::unique_ptr<HostCollectives> make_hierarchical_collectives(
    std::unique_ptr<Transport> transport, const CommunicatorOptions& options,
    std::shared_ptr<Ledger> ledger) {
  return std::make_unique<HierarchicalCollectives>(std::move(transport),
                                                   options, std::move(ledger));
}

}  // namespace ringlet
