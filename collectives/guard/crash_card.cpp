#include "collectives/guard/crash_card.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <map>
#include <set>

#include "collectives/guard/diagnosis.h"
#include "kernels/runtime/error.h"

namespace ringlet {
namespace {

constexpr std::uint64_t kCallsShown = 6;
constexpr std::int64_t kSecond = 1'000'000'000;
// The same time for all: what two watchdogs may lie apart.
constexpr std::int64_t kSameTime = kSecond / 4;
// Longer than a host is silent in good order.
constexpr std::int64_t kOldNews = 3 * kSecond;

std::int64_t last_sign(const RankRecord& rank) {
  return rank.wall_clock +
         std::max({rank.heartbeat, rank.last.begin, rank.last.end});
}

std::int64_t last_sign_of_all(const std::vector<RankRecord>& ranks) {
  std::int64_t last = 0;
  for (const RankRecord& rank : ranks) last = std::max(last, last_sign(rank));
  return last;
}

// "ranks 0-2, 5".
std::string names(const std::vector<int>& ranks) {
  std::string text = ranks.size() == 1 ? "rank " : "ranks ";
  for (std::size_t i = 0; i < ranks.size();) {
    std::size_t end = i + 1;
    while (end < ranks.size() && ranks[end] == ranks[end - 1] + 1) ++end;
    text += fmt::format("{}{}", i > 0 ? ", " : "", ranks[i]);
    if (end - i > 1) text += fmt::format("-{}", ranks[end - 1]);
    i = end;
  }
  return text;
}

struct RankCalls {
  RankRecord rank;
  std::vector<CallRecord> calls;
};

// Ranks that have done the same in a call.
struct Group {
  std::vector<int> ranks;
  std::int64_t begin = 0, least = 0, most = 0;  // of those that have left it
};

std::string how_far(const RankRecord& rank, std::int64_t end) {
  const auto ago = [&](std::int64_t time) {
    return seconds(end - rank.wall_clock - time);
  };
  if (rank.last.number == 0) return "no call yet";
  const std::string call = describe(rank.last);
  if (rank.ended) return "ended in good order after " + call;
  if (rank.failed) return call + " failed";
  if (rank.in_call())
    return fmt::format("in {}, since {}", call, ago(rank.last.begin));
  return fmt::format("left {}, {} before", call, ago(rank.last.end));
}

// Of another host, which may have gone on since.
std::string when_heard(const RankRecord& rank, std::int64_t end) {
  const std::int64_t ago = end - rank.wall_clock - rank.seen;
  if (rank.seen == 0 || ago < kOldNews) return "";
  return fmt::format(" (as last heard of, {} before)", seconds(ago));
}

// One call: a line for what it is, on all ranks or on some, and below it who
// has left it, who is in it, and who has not come, if that is known.
std::string call_lines(std::uint64_t number,
                       const std::vector<RankCalls>& ranks, bool agreed,
                       std::int64_t end) {
  std::map<std::string, std::map<bool, Group>> by_call;  // by whether it ended
  std::vector<RankRecord> missing;
  std::int64_t first = end;
  for (const auto& [rank, calls] : ranks) {
    const auto found =
        std::find_if(calls.begin(), calls.end(),
                     [&](const CallRecord& c) { return c.number == number; });
    if (found == calls.end()) {
      if (rank.last.number < number && !agreed) missing.push_back(rank);
      continue;
    }
    first = std::min(first, rank.wall_clock + found->begin);
    Group& group = by_call[describe(*found)][found->end != 0];
    const std::int64_t begin = end - rank.wall_clock - found->begin;
    const std::int64_t took = found->end - found->begin;
    const bool alone = group.ranks.empty();
    group.begin = alone ? begin : std::max(group.begin, begin);
    group.least = alone ? took : std::min(group.least, took);
    group.most = alone ? took : std::max(group.most, took);
    group.ranks.push_back(rank.rank);
  }
  std::string text;
  for (const auto& [call, groups] : by_call) {
    text += fmt::format("  {}\n", call);
    for (const auto& [ended, group] : groups) {
      const std::string took =
          ended ? fmt::format("took {} to {}", seconds(group.least),
                              seconds(group.most))
                : "not left";
      text += fmt::format("      {:<16} entered {} before; {}\n",
                          names(group.ranks), seconds(group.begin), took);
    }
  }
  std::map<bool, std::vector<int>> by_word;  // by whether it is known
  for (const RankRecord& rank : missing) {
    const bool old = rank.seen != 0 && rank.wall_clock + rank.seen < first;
    by_word[old].push_back(rank.rank);
  }
  for (const auto& [old, of] : by_word) {
    text += fmt::format("      {:<16} {}\n", names(of),
                        old ? "not heard of since" : "not there");
  }
  return text;
}

}  // namespace

std::string crash_card(const std::string& verdict, const std::string& advice,
                       const std::vector<CallLog>& logs) {
  std::vector<RankCalls> ranks;
  std::vector<RankRecord> records;
  std::uint64_t newest = 0, agreed = 0;
  std::set<std::string> versions;
  for (const CallLog& log : logs) {
    if (!log.started()) continue;
    ranks.push_back({log.rank(), log.calls()});
    records.push_back(ranks.back().rank);
    newest = std::max(newest, records.back().last.number);
    agreed = std::max(agreed, records.back().agreed);
    versions.insert(records.back().versions);
  }
  const std::int64_t end = last_sign_of_all(records);
  std::string text = fmt::format(
      "Crash card, {:%Y-%m-%d %H:%M:%S}\n\nverdict   {}\ntry       {}\n"
      "versions  {}\n\nranks\n",
      fmt::localtime(static_cast<std::time_t>(end / kSecond)), verdict, advice,
      fmt::join(versions, "; "));
  for (const RankRecord& rank : records) {
    text +=
        fmt::format("  {:<3} process {} on {}: {}{}\n", rank.rank, rank.process,
                    rank.host, how_far(rank, end), when_heard(rank, end));
  }
  text += "\nlast calls (times are before the last sign of any rank)\n";
  const std::uint64_t first = newest > kCallsShown ? newest - kCallsShown : 0;
  for (std::uint64_t number = first + 1; number <= newest; ++number) {
    text += call_lines(number, ranks, number <= agreed, end);
  }
  return text;
}

std::string call_log_folder(const std::string& run) { return run + "/calls"; }

std::string call_log_path(const std::string& run, int rank) {
  return fmt::format("{}/rank-{}", call_log_folder(run), rank);
}

std::string crash_card_path(const std::string& run) {
  return run + "/crash.txt";
}

std::vector<CallLog> read_call_logs(const std::string& run) {
  const std::string folder = call_log_folder(run);
  std::map<int, CallLog> by_rank;
  std::error_code none;
  for (const auto& file : std::filesystem::directory_iterator(folder, none)) {
    CallLog log = CallLog::read(file.path().string());
    by_rank.emplace(log.rank().rank, std::move(log));
  }
  if (by_rank.empty()) {
    throw Error(fmt::format(
        "{}: no record of calls there: the run goes on without any, or has "
        "ended in good order",
        folder));
  }
  std::vector<CallLog> logs;
  for (auto& [rank, log] : by_rank) logs.push_back(std::move(log));
  return logs;
}

std::string verdict_after_death(const std::vector<CallLog>& logs) {
  std::vector<RankRecord> ranks;
  for (const CallLog& log : logs) ranks.push_back(log.rank());
  const std::int64_t end = last_sign_of_all(ranks);
  std::vector<int> failed, silent;
  for (const RankRecord& rank : ranks) {
    if (rank.failed) failed.push_back(rank.rank);
    if (end - last_sign(rank) > kSameTime) silent.push_back(rank.rank);
  }
  if (!failed.empty()) return "a call failed on " + names(failed);
  if (silent.empty() || silent.size() == ranks.size()) {
    return "all ranks fell silent at the same time: what ended the job, its "
           "launcher has said";
  }
  return names(silent) + " fell silent before the others";
}

}  // namespace ringlet
