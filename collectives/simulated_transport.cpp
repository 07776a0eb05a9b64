#include "collectives/simulated_transport.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "collectives/network_time.h"
#include "collectives/thread_channels.h"
#include "kernels/runtime/error.h"

namespace ringlet {
namespace {

class SimulatedRequest final : public ThreadRequest {
 public:
  // A message that takes a way for `duration`. A send has taken it already; a
  // receive does when it is waited for.
  SimulatedRequest(ThreadChannel& channel, const std::atomic<bool>& aborted,
                   const ThreadMessage& message, Nanoseconds latency,
                   Nanoseconds duration)
      : ThreadRequest(channel, aborted, message),
        latency_(latency),
        duration_(duration) {}

  bool test() override {
    throw Error(
        "a message on a simulated network was tested: wait for it, since "
        "whether it has come is a matter of how threads are scheduled");
  }

  // When the last byte has left or arrived; the other side is there.
  Nanoseconds end(Way& way_in) {
    if (!std::exchange(waited_, true)) {
      const Nanoseconds departure = message().departure;
      end_ = duration_ + (message().is_send
                              ? departure
                              : way_in.take(departure + latency_, duration_));
    }
    return end_;
  }

 private:
  Nanoseconds latency_, duration_;
  bool waited_ = false;
  Nanoseconds end_ = 0;
};

class SimulatedTransport final : public Transport {
 public:
  SimulatedTransport(std::shared_ptr<ThreadChannels> channels,
                     std::shared_ptr<const SimulatedNetwork> network, int rank)
      : channels_(std::move(channels)),
        network_(std::move(network)),
        rank_(rank) {
    const auto place = static_cast<std::size_t>(rank);
    if (place < network_->start_delays.size()) {
      clock_ = nanoseconds(network_->start_delays[place]);
    }
  }

  int rank() const override { return rank_; }
  int size() const override { return channels_->size(); }

  RequestPtr isend(int peer, const void* data, std::size_t bytes) override {
    const Nanoseconds duration = time_of(bytes, link(rank_, peer).bandwidth);
    return std::make_unique<SimulatedRequest>(
        channels_->between(rank_, peer), channels_->aborted(),
        ThreadMessage{.is_send = true,
                      .source = data,
                      .bytes = bytes,
                      .departure = way_out_.take(clock_, duration)},
        0, duration);
  }

  RequestPtr irecv(int peer, void* data, std::size_t bytes) override {
    const SimulatedNetwork::Link from = link(peer, rank_);
    return std::make_unique<SimulatedRequest>(
        channels_->between(peer, rank_), channels_->aborted(),
        ThreadMessage{.is_send = false, .target = data, .bytes = bytes},
        nanoseconds(from.latency), time_of(bytes, from.bandwidth));
  }

  void wait(Request& request) override {
    auto& message = static_cast<SimulatedRequest&>(request);
    message.wait();
    clock_ = std::max(clock_, message.end(way_in_));
  }

  void cancel() noexcept override { channels_->abort(); }
  bool is_cancelled() const noexcept override { return channels_->aborted(); }

  std::int64_t now() const override { return clock_; }
  void reduced(std::size_t bytes) override {
    clock_ += time_of(bytes, network_->adding);
  }

 private:
  SimulatedNetwork::Link link(int from, int to) const {
    for (const SimulatedNetwork::Link& link : network_->links) {
      if (link.from == from && link.to == to) return link;
    }
    return {from, to, network_->latency, network_->bandwidth};
  }

  std::shared_ptr<ThreadChannels> channels_;
  std::shared_ptr<const SimulatedNetwork> network_;
  int rank_;
  Nanoseconds clock_ = 0;
  Way way_out_, way_in_;
};

void check(const SimulatedNetwork& network, int size) {
  check_time("latency", network.latency);
  check_bandwidth("bandwidth", network.bandwidth);
  check_bandwidth("adding", network.adding);
  for (const SimulatedNetwork::Link& link : network.links) {
    check_link(link.from, link.to, size);
    check_time("latency", link.latency);
    check_bandwidth("bandwidth", link.bandwidth);
  }
  if (network.start_delays.size() > static_cast<std::size_t>(size)) {
    throw Error(fmt::format("start delays of {} ranks, expected at most {}",
                            network.start_delays.size(), size));
  }
  for (const double delay : network.start_delays) {
    check_time("start delay", delay);
  }
}

}  // namespace

SimulatedWorld::SimulatedWorld(int size, const SimulatedNetwork& network)
    : ThreadWorld(size), network_(std::make_shared<SimulatedNetwork>(network)) {
  check(network, size);
}

std::unique_ptr<Transport> SimulatedWorld::make_transport(int rank) {
  return std::make_unique<SimulatedTransport>(channels(), network_, rank);
}

}  // namespace ringlet
