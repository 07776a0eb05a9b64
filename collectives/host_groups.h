#pragma once

#include <cstdint>
#include <memory>
#include <type_traits>
#include <vector>

#include "collectives/transport.h"

namespace ringlet {

// What each of `ranks` gives, in their order. Collective among them; a message
// between any two.
template <typename T>
std::vector<T> exchange(Transport& transport, const std::vector<int>& ranks,
                        const T& mine) {
  static_assert(std::is_trivially_copyable_v<T>);
  std::vector<T> all(ranks.size(), mine);
  std::vector<Transport::RequestPtr> requests;
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    if (ranks[i] == transport.rank()) continue;
    requests.push_back(transport.irecv(ranks[i], &all[i], sizeof(T)));
    requests.push_back(transport.isend(ranks[i], &mine, sizeof(T)));
  }
  for (const auto& request : requests) transport.wait(*request);
  return all;
}

// The job's ranks by host, hosts by their first rank, ranks rising. `host` are
// those of this rank's. Collective; a message between any two ranks.
std::vector<std::vector<int>> group_by_host(Transport& transport,
                                            const std::vector<int>& host);

// Some of a transport's ranks, counted anew: rank i of this one is ranks[i] of
// the other. Several may have one transport, whose messages keep their order,
// as long as all ranks use them in the same order.
class SubsetTransport final : public Transport {
 public:
  // This rank must be among them.
  SubsetTransport(std::shared_ptr<Transport> all, std::vector<int> ranks);

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(ranks_.size()); }
  std::vector<int> host_ranks() const override;
  RequestPtr isend(int peer, const void* data, std::size_t bytes) override {
    return all_->isend(of_all(peer), data, bytes);
  }
  RequestPtr irecv(int peer, void* data, std::size_t bytes) override {
    return all_->irecv(of_all(peer), data, bytes);
  }
  void wait(Request& request) override { all_->wait(request); }
  void cancel() noexcept override { all_->cancel(); }
  bool is_cancelled() const noexcept override { return all_->is_cancelled(); }
  void set_urgent(bool urgent) override { all_->set_urgent(urgent); }
  // As the other counts.
  int waiting_for() const override { return all_->waiting_for(); }
  std::int64_t now() const override { return all_->now(); }
  void reduced(std::size_t bytes) override { all_->reduced(bytes); }

 private:
  int of_all(int peer) const { return ranks_[static_cast<std::size_t>(peer)]; }

  std::shared_ptr<Transport> all_;
  std::vector<int> ranks_;
  int rank_;
};

}  // namespace ringlet
