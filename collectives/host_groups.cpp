#include "collectives/host_groups.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

#include "kernels/runtime/check.h"

namespace ringlet {

std::vector<std::vector<int>> group_by_host(Transport& transport,
                                            const std::vector<int>& host) {
  std::vector<int> all(static_cast<std::size_t>(transport.size()));
  std::iota(all.begin(), all.end(), 0);
  const std::vector<int> first = exchange(transport, all, host.front());
  std::map<int, std::vector<int>> by_first;
  for (std::size_t i = 0; i < all.size(); ++i) {
    by_first[first[i]].push_back(all[i]);
  }
  std::vector<std::vector<int>> hosts;
  for (auto& [leader, ranks] : by_first) hosts.push_back(std::move(ranks));
  return hosts;
}

SubsetTransport::SubsetTransport(std::shared_ptr<Transport> all,
                                 std::vector<int> ranks)
    : all_(std::move(all)), ranks_(std::move(ranks)) {
  const auto self = std::find(ranks_.begin(), ranks_.end(), all_->rank());
  RINGLET_CHECK(self != ranks_.end(), "rank {} is not among them",
                all_->rank());
  rank_ = static_cast<int>(self - ranks_.begin());
}

std::vector<int> SubsetTransport::host_ranks() const {
  std::vector<int> found;
  for (const int rank : all_->host_ranks()) {
    const auto place = std::find(ranks_.begin(), ranks_.end(), rank);
    if (place == ranks_.end()) continue;
    found.push_back(static_cast<int>(place - ranks_.begin()));
  }
  return found;
}

}  // namespace ringlet
