#include "collectives/guard/call_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <tuple>
#include <type_traits>

namespace ringlet {
namespace {

constexpr int kFirst = 0;  // who speaks for its host

// Without the arrays, whose addresses are each rank's own.
auto signature(const Collective& call) {
  return std::tuple(call.kind, call.count, call.dtype, call.op, call.root,
                    call.tag, call.device, call.wire);
}

}  // namespace

// What the first rank of a host tells the others: its own call, and that of a
// rank of its host that has come to another one, if there is any.
struct CallCheck::Summary {
  int rank, odd_rank;
  Collective call, odd_call;
};

CallCheck::CallCheck(HostMemory& memory, Transport& transport,
                     const std::vector<std::vector<int>>& hosts, int spins)
    : memory_(memory), transport_(transport), board_(memory, transport, spins) {
  for (const auto& ranks : hosts) leaders_.push_back(ranks.front());
}

void CallCheck::agree_on(const Collective& call) {
  ++calls_;
  board_.begin();
  board_.arrive(call);
  if (leaders_.size() == 1) return board_.await_all();
  agree_between_hosts(call);
}

// The first rank of each host hears what its host's ranks have come to, asks
// its like, and leaves the verdict, a text that is empty where all agree, in
// its slot of the board.
void CallCheck::agree_between_hosts(const Collective& call) {
  board_.all_agree();
  char* verdict =
      reinterpret_cast<char*>(board_.slot(kFirst, SharedBoard::kSlotBytes));
  if (memory_.rank() == kFirst) {
    const std::vector<Summary> all = exchange(summary_of(call));
    std::string text;
    bool same = true;
    for (const Summary& host : all) {
      text += fmt::format("{} rank {} {}", text.empty() ? "" : ";", host.rank,
                          describe(host.call));
      same = same && signature(host.call) == signature(call) &&
             host.odd_rank == kNobody;
      if (host.odd_rank == kNobody) continue;
      text +=
          fmt::format("; rank {} {}", host.odd_rank, describe(host.odd_call));
    }
    if (same) text.clear();
    text.resize(std::min(text.size(), SharedBoard::kSlotBytes - 1));
    std::memcpy(verdict, text.c_str(), text.size() + 1);
  }
  board_.meet();
  if (*verdict == '\0') return;
  throw MismatchError(
      fmt::format("ranks differ in call {}:{}", calls_, verdict));
}

CallCheck::Summary CallCheck::summary_of(const Collective& call) const {
  Summary summary{memory_.job_rank(kFirst), kNobody, call, {}};
  for (int r = 1; r < memory_.size(); ++r) {
    const Collective other = board_.call_of(r);
    if (signature(other) == signature(call)) continue;
    summary.odd_rank = memory_.job_rank(r);
    summary.odd_call = other;
    break;
  }
  return summary;
}

std::vector<CallCheck::Summary> CallCheck::exchange(const Summary& mine) {
  static_assert(std::is_trivially_copyable_v<Summary>);
  std::vector<Summary> all(leaders_.size(), mine);
  std::vector<Transport::RequestPtr> requests;
  for (std::size_t i = 0; i < leaders_.size(); ++i) {
    if (leaders_[i] == mine.rank) continue;
    requests.push_back(transport_.irecv(leaders_[i], &all[i], sizeof(Summary)));
    requests.push_back(transport_.isend(leaders_[i], &mine, sizeof(Summary)));
  }
  for (const auto& request : requests) transport_.wait(*request);
  return all;
}

void CallCheck::give_up() noexcept { board_.give_up(); }

void CallCheck::cancel() noexcept {
  transport_.cancel();
  board_.cancel();
}

void CallCheck::set_urgent(bool urgent) noexcept {
  transport_.set_urgent(urgent);
  board_.set_urgent(urgent);
}

int CallCheck::waiting_for() const {
  const int on_host = board_.waiting_for();
  return on_host != kNobody ? on_host : transport_.waiting_for();
}

}  // namespace ringlet
