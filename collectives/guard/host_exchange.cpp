#include "collectives/guard/host_exchange.h"

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

namespace ringlet {
namespace {

constexpr std::int64_t kSecondsToClose = 2;
constexpr std::chrono::milliseconds kPause{1};

}  // namespace

// Another host.
struct HostExchange::Peer {
  std::vector<int> ranks;
  Buffer told, heard;
  Transport::RequestPtr send{}, receive{};
  bool ended = false;  // has said its last word

  static CallLog log(const Buffer& buffer, std::size_t of) {
    return CallLog(buffer.data() + of * kBytes, kCalls);
  }
};

HostExchange::HostExchange(Transport& transport,
                           const std::vector<std::vector<int>>& hosts,
                           std::byte* copies)
    : transport_(transport), copies_(copies) {
  const int self = transport_.rank();
  const auto own = std::find_if(
      hosts.begin(), hosts.end(),
      [&](const std::vector<int>& ranks) { return ranks.front() == self; });
  for (auto host = hosts.begin(); host != hosts.end(); ++host) {
    if (host == own) continue;
    peers_.push_back({.ranks = *host,
                      .told = Buffer::allocate(own->size() * kBytes),
                      .heard = Buffer::allocate(host->size() * kBytes)});
    std::fill_n(peers_.back().told.data(), own->size() * kBytes, std::byte{0});
  }
  for (Peer& peer : peers_) {
    peer.receive = transport_.irecv(peer.ranks.front(), peer.heard.data(),
                                    peer.heard.bytes());
  }
}

HostExchange::~HostExchange() {
  // After an error a message may still be under way.
  for (const Peer& peer : peers_) {
    if (peer.send) peer.told.keep();
    if (peer.receive) peer.heard.keep();
  }
}

void HostExchange::turn(const std::vector<CallLog>& own, std::int64_t period) {
  for (Peer& peer : peers_) hear(peer);
  const std::int64_t now = host_now();
  if (told_ != 0 && now - told_ < period) return;
  told_ = now;
  for (Peer& peer : peers_) tell(peer, own);
}

void HostExchange::hear(Peer& peer) {
  while (peer.receive && peer.receive->test()) {
    // As if the message had taken no time, which is some milliseconds, or up to
    // a look of each watchdog. Clocks of hosts drift, so the next one says
    // anew.
    const std::int64_t now = host_now();
    const std::int64_t later = now - Peer::log(peer.heard, 0).rank().seen;
    peer.ended = Peer::log(peer.heard, 0).rank().ended;
    for (std::size_t i = 0; i < peer.ranks.size(); ++i) {
      const CallLog heard = Peer::log(peer.heard, i);
      if (!heard.started()) continue;
      const auto rank = static_cast<std::size_t>(peer.ranks[i]);
      CallLog(copies_ + rank * kBytes, kCalls)
          .take(heard, later, now, heard.rank().process_then);
    }
    peer.receive.reset();
    if (peer.ended) return;
    peer.receive = transport_.irecv(peer.ranks.front(), peer.heard.data(),
                                    peer.heard.bytes());
  }
}

// While MPI has not let go of the last message, there is no other.
void HostExchange::tell(Peer& peer, const std::vector<CallLog>& own) {
  if (peer.send && !peer.send->test()) return;
  const std::int64_t now = host_now();
  for (std::size_t i = 0; i < own.size(); ++i) {
    if (!own[i].started()) continue;
    const RankRecord rank = own[i].rank();
    Peer::log(peer.told, i)
        .take(own[i], 0, now,
              state_of_process(rank.process, rank.process_start));
  }
  peer.send =
      transport_.isend(peer.ranks.front(), peer.told.data(), peer.told.bytes());
}

void HostExchange::close(const std::vector<CallLog>& own) {
  const std::int64_t until = host_now() + kSecondsToClose * 1'000'000'000;
  const auto wait_until = [&](const auto& done) {
    while (!done() && host_now() < until) {
      for (Peer& peer : peers_) hear(peer);
      std::this_thread::sleep_for(kPause);
    }
  };
  const auto sent = [&] {
    for (Peer& peer : peers_) {
      if (peer.send && peer.send->test()) peer.send.reset();
    }
    return std::none_of(peers_.begin(), peers_.end(),
                        [](const Peer& peer) { return bool(peer.send); });
  };
  wait_until(sent);
  for (Peer& peer : peers_) tell(peer, own);
  wait_until([&] {
    const bool all_sent = sent();
    return all_sent && std::all_of(peers_.begin(), peers_.end(),
                                   [](const Peer& peer) { return peer.ended; });
  });
}

}  // namespace ringlet
