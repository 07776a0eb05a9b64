#include "collectives/guard/diagnosis.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "collectives/transport.h"

namespace ringlet {
namespace {

// Ten times what lies between two heartbeats.
constexpr std::int64_t kSilence = 1'000'000'000;

std::string name_of(const RankRecord& rank) {
  return fmt::format("process {} on {}", rank.process, rank.host);
}

// How long its watchdog had shown no sign of life, when it was last looked at.
std::int64_t silence(const RankRecord& rank, std::int64_t now) {
  return (rank.seen != 0 ? rank.seen : now) - rank.heartbeat;
}

std::string process_of(const RankReport& rank, std::int64_t now) {
  const std::string name = name_of(rank.record);
  const std::int64_t silent = silence(rank.record, now);
  switch (rank.process) {
    case ProcessState::kStopped:
      return name + " is stopped";
    case ProcessState::kGone:
      return name + " is gone";
    case ProcessState::kRuns:
      break;
  }
  if (silent < kSilence) return name + " runs";
  return fmt::format("{} runs, but its watchdog has been silent for {}", name,
                     seconds(silent));
}

std::string last_seen(const RankRecord& rank, std::int64_t now) {
  if (rank.last.number == 0) return "it has made no call yet";
  const std::string call = describe(rank.last);
  if (rank.failed) return fmt::format("its {} has failed", call);
  if (rank.in_call()) {
    return fmt::format("it has been in {} for {}", call,
                       seconds(now - rank.last.begin));
  }
  return fmt::format("{} ago it left {}", seconds(now - rank.last.end), call);
}

bool is_late(const RankReport& rank, const RankRecord& self) {
  return rank.heard && rank.record.last.number < self.last.number;
}

// Of those that are in the call too. Where the back end does not tell who waits
// for whom, only their processes do.
bool holds_up(const RankReport& rank, const RankRecord& self) {
  if (rank.record.rank == self.rank || !rank.heard) return false;
  if (rank.process != ProcessState::kRuns) return true;
  return rank.record.in_call() && self.waiting_for != kNobody &&
         rank.record.waiting_for == kNobody;
}

std::string advice_for(const RankReport& rank) {
  switch (rank.process) {
    case ProcessState::kStopped:
      return fmt::format(
          "kill -CONT {} on {} lets it go on; a debugger, "
          "Ctrl-Z or kill -STOP has stopped it",
          rank.record.process, rank.record.host);
    case ProcessState::kGone:
      return fmt::format(
          "see on {} what has ended it: mpirun's words, and "
          "dmesg where memory was short",
          rank.record.host);
    case ProcessState::kRuns:
      break;
  }
  return fmt::format(
      "where it is, says: gdb -p {} -batch -ex 'thread apply all backtrace' on "
      "{}; a longer --timeout, if it only takes its time",
      rank.record.process, rank.record.host);
}

// Who waits for whom, where nobody is to blame.
std::string chain(const std::vector<RankReport>& ranks) {
  std::string text;
  for (const RankReport& rank : ranks) {
    if (!rank.heard || rank.record.waiting_for == kNobody) continue;
    text += fmt::format("{}rank {} for rank {}", text.empty() ? "" : ", ",
                        rank.record.rank, rank.record.waiting_for);
  }
  return text.empty() ? "" : ": " + text;
}

// How far a rank is of which nothing has been heard.
std::string last_known(const RankRecord& rank, const RankRecord& self,
                       std::int64_t now) {
  if (self.agreed == self.last.number) return "; it has come to it";
  if (self.agreed + 1 == self.last.number) {
    return "; it has come to all calls before";
  }
  return rank.seen != 0 ? "; " + last_seen(rank, now) : "";
}

// Where no other is to blame.
void add_unheard(Diagnosis& found, const std::vector<RankReport>& ranks,
                 const RankRecord& self, std::int64_t now) {
  for (const auto& [record, process, heard] : ranks) {
    if (heard) continue;
    found.text += fmt::format("{} for rank {}, of which nothing has been heard",
                              found.guilty.empty() ? "" : ", and", record.rank);
    if (record.seen != 0) {
      found.text += fmt::format(" for {}: {}", seconds(now - record.seen),
                                name_of(record));
    }
    found.text += last_known(record, self, now);
    found.guilty.push_back(record.rank);
  }
  if (found.guilty.empty()) return;
  found.text += "; no other is missing" + chain(ranks);
  found.advice =
      "see whether that process and its host run, and the network to it";
}

}  // namespace

std::string seconds(std::int64_t nanoseconds) {
  const double value = 1e-9 * static_cast<double>(nanoseconds);
  return value < 1 ? fmt::format("{:.3g} ms", 1e3 * value)
                   : fmt::format("{:.1f} s", value);
}

std::string describe(const CallRecord& call) {
  std::string text =
      fmt::format("call {}, {}", call.number, describe(call.call));
  if (call.training_step >= 0) {
    text += fmt::format(" (step {})", call.training_step);
  }
  return text;
}

Diagnosis diagnose(const std::vector<RankReport>& ranks, std::size_t self,
                   std::int64_t now) {
  const RankRecord& own = ranks[self].record;
  Diagnosis found;
  const auto late = [&](const RankReport& rank) { return is_late(rank, own); };
  const bool all_heard =
      std::all_of(ranks.begin(), ranks.end(),
                  [](const RankReport& rank) { return rank.heard; });
  // Who is late because it waits itself is not to blame for another's silence.
  const bool any_late =
      std::any_of(ranks.begin(), ranks.end(), [&](const RankReport& rank) {
        return late(rank) && (all_heard || !rank.record.in_call());
      });
  for (const RankReport& rank : ranks) {
    if (any_late ? !late(rank) : !holds_up(rank, own)) continue;
    found.text += fmt::format(
        "{} for rank {}, which {}: {}; {}", found.guilty.empty() ? "" : ", and",
        rank.record.rank,
        any_late ? "has not come to it" : "is in it and waits for nobody",
        process_of(rank, now), last_seen(rank.record, now));
    if (found.guilty.empty()) found.advice = advice_for(rank);
    found.guilty.push_back(rank.record.rank);
    found.gone = found.gone || rank.process == ProcessState::kGone;
  }
  found.sure = !found.guilty.empty() && all_heard;
  if (found.guilty.empty()) add_unheard(found, ranks, own, now);
  if (found.guilty.empty()) {
    found.sure = ranks.size() == static_cast<std::size_t>(own.size);
    found.text = fmt::format("; all ranks{} are in it{}",
                             found.sure ? "" : " it knows of", chain(ranks));
    found.advice =
        "a message may have been lost: look at the network between them";
  }
  found.text = fmt::format("rank {} has waited {} in {}{}", own.rank,
                           seconds(now - own.last.begin), describe(own.last),
                           found.text);
  return found;
}

std::size_t speaker(const std::vector<RankReport>& ranks, std::size_t self,
                    const Diagnosis& found, std::int64_t now) {
  if (have_told(ranks)) return ranks.size();
  std::set<std::string> guilty_hosts;
  for (const RankReport& rank : ranks) {
    if (std::count(found.guilty.begin(), found.guilty.end(), rank.record.rank) >
        0) {
      guilty_hosts.insert(rank.record.host);
    }
  }
  const auto able = [&](const RankReport& rank) {
    return rank.heard && rank.record.in_call() &&
           rank.record.last.number == ranks[self].record.last.number &&
           rank.process == ProcessState::kRuns &&
           silence(rank.record, now) < kSilence;
  };
  auto first =
      std::find_if(ranks.begin(), ranks.end(), [&](const RankReport& rank) {
        return able(rank) && guilty_hosts.count(rank.record.host) > 0;
      });
  if (first == ranks.end()) {
    first = std::find_if(ranks.begin(), ranks.end(), able);
  }
  return static_cast<std::size_t>(first - ranks.begin());
}

bool have_told(const std::vector<RankReport>& ranks) {
  return std::any_of(ranks.begin(), ranks.end(),
                     [](const RankReport& rank) { return rank.record.told; });
}

Diagnosis diagnose_death(const std::vector<RankReport>& ranks,
                         std::int64_t now) {
  Diagnosis found;
  for (const RankReport& rank : ranks) {
    const RankRecord& record = rank.record;
    if (rank.process != ProcessState::kGone || record.ended || record.ending) {
      continue;
    }
    if (found.guilty.empty()) found.advice = advice_for(rank);
    found.text += fmt::format("{}rank {} has died: {}; {}",
                              found.guilty.empty() ? "" : "; ", record.rank,
                              process_of(rank, now), last_seen(record, now));
    found.guilty.push_back(record.rank);
    found.gone = true;
  }
  return found;
}

}  // namespace ringlet
