#include "collectives/thread_transport.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "collectives/thread_channels.h"
#include "kernels/runtime/check.h"

namespace ringlet {
namespace {

class ThreadTransport final : public Transport {
 public:
  ThreadTransport(std::shared_ptr<ThreadChannels> channels, int rank,
                  int ranks_per_host)
      : channels_(std::move(channels)),
        rank_(rank),
        ranks_per_host_(ranks_per_host) {}

  int rank() const override { return rank_; }
  int size() const override { return channels_->size(); }
  std::vector<int> host_ranks() const override {
    const int first = rank_ / ranks_per_host_ * ranks_per_host_;
    const int count = std::min(ranks_per_host_, size() - first);
    std::vector<int> ranks(static_cast<std::size_t>(count));
    std::iota(ranks.begin(), ranks.end(), first);
    return ranks;
  }

  RequestPtr isend(int peer, const void* data, std::size_t bytes) override {
    return post(channels_->between(rank_, peer),
                {.is_send = true, .source = data, .bytes = bytes});
  }

  RequestPtr irecv(int peer, void* data, std::size_t bytes) override {
    return post(channels_->between(peer, rank_),
                {.is_send = false, .target = data, .bytes = bytes});
  }

  void wait(Request& request) override {
    static_cast<ThreadRequest&>(request).wait();
  }

  void cancel() noexcept override { channels_->abort(); }
  bool is_cancelled() const noexcept override { return channels_->aborted(); }

 private:
  RequestPtr post(ThreadChannel& channel, const ThreadMessage& message) {
    return std::make_unique<ThreadRequest>(channel, channels_->aborted(),
                                           message);
  }

  std::shared_ptr<ThreadChannels> channels_;
  int rank_, ranks_per_host_;
};

}  // namespace

ThreadWorld::ThreadWorld(int size) : ThreadWorld(size, size) {}
ThreadWorld::ThreadWorld(int size, int ranks_per_host)
    : channels_(std::make_shared<ThreadChannels>(size)),
      ranks_per_host_(ranks_per_host) {}
ThreadWorld::~ThreadWorld() = default;

int ThreadWorld::size() const { return channels_->size(); }

std::unique_ptr<Transport> ThreadWorld::transport(int rank) {
  RINGLET_CHECK(0 <= rank && rank < size(), "rank {} of {}", rank, size());
  return make_transport(rank);
}

std::unique_ptr<Transport> ThreadWorld::make_transport(int rank) {
  return std::make_unique<ThreadTransport>(channels_, rank, ranks_per_host_);
}

void ThreadWorld::abort() noexcept { channels_->abort(); }

}  // namespace ringlet
