#include "collectives/chrome_trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <map>
#include <tuple>

#include "kernels/runtime/error.h"

namespace ringlet {
namespace {

// An event on rank 0's clock, and the lane where it is drawn.
struct Drawn {
  const Event* event;
  std::int64_t begin, end;
  std::size_t lane;
};

struct Lane {
  std::string name;
  std::int64_t end;  // of its last event
};

// What one rank did, in lanes whose events do not overlap: viewers draw only
// nested ones on top of each other, and slices in flight are not nested.
class RankPicture {
 public:
  explicit RankPicture(const RankTrace& trace) {
    for (const Event& event : trace.events) {
      const auto begin = on_first_ranks_clock(event.begin, trace.clock);
      const auto end = on_first_ranks_clock(event.end, trace.clock);
      drawn_.push_back({&event, begin, end, 0});
    }
    std::stable_sort(
        drawn_.begin(), drawn_.end(),
        [](const Drawn& a, const Drawn& b) { return a.begin < b.begin; });
    for (std::size_t kind = 0; kind < kEventKinds; ++kind) {
      lay_out(static_cast<EventKind>(kind));
    }
  }

  const std::vector<Drawn>& drawn() const { return drawn_; }
  const std::vector<Lane>& lanes() const { return lanes_; }

 private:
  // Each event into the first lane of its kind that is free again.
  void lay_out(EventKind kind) {
    const std::size_t first = lanes_.size();
    for (Drawn& drawn : drawn_) {
      if (drawn.event->kind != kind) continue;
      std::size_t lane = first;
      while (lane < lanes_.size() && lanes_[lane].end > drawn.begin) ++lane;
      if (lane == lanes_.size()) {
        lanes_.push_back({lane_name(kind, lane - first + 1), 0});
      }
      lanes_[lane].end = drawn.end;
      drawn.lane = lane;
    }
  }

  // A rank is at one thing at a time, but may have many messages in flight.
  static std::string lane_name(EventKind kind, std::size_t number) {
    return is_activity(kind) ? name_of(kind)
                             : fmt::format("{} {}", name_of(kind), number);
  }

  std::vector<Drawn> drawn_;
  std::vector<Lane> lanes_;
};

// The two ends of a message know the same of it.
using MessageKey = std::tuple<std::uint64_t, Phase, std::size_t, std::size_t,
                              std::size_t, int, int>;

MessageKey key_of(const Event& event) {
  const bool sent = event.kind == EventKind::kSend;
  return {event.call,
          event.phase,
          event.step,
          event.chunk,
          event.slice,
          sent ? event.rank : event.peer,
          sent ? event.peer : event.rank};
}

struct Ends {
  const Drawn* send = nullptr;
  const Drawn* receive = nullptr;
};

class ChromeTrace {
 public:
  explicit ChromeTrace(const std::vector<RankTrace>& traces) : traces_(traces) {
    for (const RankTrace& trace : traces) pictures_.emplace_back(trace);
    bool any = false;
    for (const RankPicture& picture : pictures_) {
      if (picture.drawn().empty()) continue;
      const std::int64_t begin = picture.drawn().front().begin;
      zero_ = any ? std::min(zero_, begin) : begin;
      any = true;
    }
  }

  void write(std::ostream& out) {
    out << R"({"displayTimeUnit":"ns","traceEvents":[)";
    for (std::size_t rank = 0; rank < pictures_.size(); ++rank) {
      write_names(out, rank);
      for (const Drawn& drawn : pictures_[rank].drawn()) {
        write_event(out, drawn);
      }
    }
    const std::size_t unpaired = write_flows(out);
    out << "\n],\n\"otherData\":" << other_data(unpaired) << "}\n";
  }

 private:
  // Microseconds with all digits that nanoseconds have.
  std::string time(std::int64_t nanoseconds) const {
    return duration(nanoseconds - zero_);
  }
  static std::string duration(std::int64_t nanoseconds) {
    return fmt::format("{}.{:03}", nanoseconds / 1000, nanoseconds % 1000);
  }

  void line(std::ostream& out, const std::string& text) {
    out << (std::exchange(first_line_, false) ? "\n" : ",\n") << text;
  }

  void write_names(std::ostream& out, std::size_t rank) {
    line(out, fmt::format(R"({{"ph":"M","pid":{0},"name":"process_name",)"
                          R"("args":{{"name":"rank {0}"}}}})",
                          rank));
    const std::vector<Lane>& lanes = pictures_[rank].lanes();
    for (std::size_t lane = 0; lane < lanes.size(); ++lane) {
      line(out,
           fmt::format(R"({{"ph":"M","pid":{},"tid":{},"name":"thread_name",)"
                       R"("args":{{"name":"{}"}}}})",
                       rank, lane, lanes[lane].name));
      line(out,
           fmt::format(R"({{"ph":"M","pid":{},"tid":{},"name":)"
                       R"("thread_sort_index","args":{{"sort_index":{}}}}})",
                       rank, lane, lane));
    }
  }

  static std::string title(const Event& event) {
    switch (event.kind) {
      case EventKind::kCall:
        return event.bucket == kNone
                   ? name_of(event.collective)
                   : fmt::format("{} of bucket {}", name_of(event.collective),
                                 event.bucket);
      case EventKind::kSend:
        return fmt::format("send {}.{} to {}", event.chunk, event.slice,
                           event.peer);
      case EventKind::kReceive:
        return fmt::format("receive {}.{} from {}", event.chunk, event.slice,
                           event.peer);
      case EventKind::kReduce:
        return fmt::format("add {}.{}", event.chunk, event.slice);
      default:
        break;
    }
    return event.bucket == kNone
               ? name_of(event.kind)
               : fmt::format("{}, bucket {}", name_of(event.kind),
                             event.bucket);
  }

  static std::string arguments(const Event& event) {
    std::string text =
        fmt::format(R"("rank":{},"training_step":{},"bucket":{})", event.rank,
                    event.training_step, event.bucket);
    if (is_activity(event.kind)) {
      return text + fmt::format(R"(,"pass":{})", event.step);
    }
    text += fmt::format(R"(,"call":{},"collective":"{}","bytes":{})",
                        event.call, name_of(event.collective), event.bytes);
    if (event.kind == EventKind::kCall) return text;
    return text + fmt::format(R"(,"phase":"{}","step":{},"chunk":{},)"
                              R"("slice":{},"peer":{})",
                              name_of(event.phase), event.step, event.chunk,
                              event.slice, event.peer);
  }

  void write_event(std::ostream& out, const Drawn& drawn) {
    const Event& event = *drawn.event;
    line(out, fmt::format(R"({{"ph":"X","pid":{},"tid":{},"ts":{},"dur":{},)"
                          R"("cat":"{}","name":"{}","args":{{{}}}}})",
                          event.rank, drawn.lane, time(drawn.begin),
                          duration(drawn.end - drawn.begin),
                          name_of(event.kind), title(event), arguments(event)));
    if (event.kind == EventKind::kSend) {
      messages_[key_of(event)].send = &drawn;
    } else if (event.kind == EventKind::kReceive) {
      messages_[key_of(event)].receive = &drawn;
    }
  }

  // An arrow from each send to its receive. It ends just inside the receive:
  // an arrow is tied to the event that covers its time. Gives how many messages
  // have one end only.
  std::size_t write_flows(std::ostream& out) {
    std::size_t id = 0, unpaired = 0;
    for (const auto& [key, ends] : messages_) {
      if (ends.send == nullptr || ends.receive == nullptr) {
        ++unpaired;
        continue;
      }
      const Drawn& receive = *ends.receive;
      write_flow(out, R"("ph":"s")", ++id, *ends.send, ends.send->begin);
      write_flow(out, R"("ph":"f","bp":"e")", id, receive,
                 std::max(receive.begin, receive.end - 1));
    }
    return unpaired;
  }

  void write_flow(std::ostream& out, const char* phase, std::size_t id,
                  const Drawn& drawn, std::int64_t at) {
    line(out, fmt::format(R"({{{},"id":{},"pid":{},"tid":{},"ts":{},)"
                          R"("cat":"message","name":"message"}})",
                          phase, id, drawn.event->rank, drawn.lane, time(at)));
  }

  std::string other_data(std::size_t unpaired) const {
    std::string text =
        fmt::format("{{\"zero_ns\":{},\"unpaired_messages\":{},\"ranks\":[",
                    zero_, unpaired);
    for (std::size_t rank = 0; rank < traces_.size(); ++rank) {
      const RankTrace& trace = traces_[rank];
      text += fmt::format(
          "{}\n{{\"rank\":{},\"events\":{},\"dropped\":{},\"clock\":[{}],"
          "\"ledger\":{{{}}}}}",
          rank > 0 ? "," : "", rank, trace.events.size(), trace.dropped,
          clock(trace), ledger(trace));
    }
    return text + "]}";
  }

  static std::string clock(const RankTrace& trace) {
    std::string text;
    for (const ClockReading& reading : trace.clock) {
      text += fmt::format(
          R"({}{{"at_ns":{},"ahead_of_rank_0_ns":{},"error_ns":{}}})",
          text.empty() ? "" : ",", reading.at, reading.ahead, reading.error);
    }
    return text;
  }

  static std::string ledger(const RankTrace& trace) {
    std::string text;
    for (std::size_t i = 0; i < kPhases; ++i) {
      const auto phase = static_cast<Phase>(i);
      const Traffic& traffic = trace.ledger.of(phase);
      if (traffic == Traffic()) continue;
      text += fmt::format(R"({}"{}":{{"messages_sent":{},"bytes_sent":{},)"
                          R"("messages_received":{},"bytes_received":{}}})",
                          text.empty() ? "" : ",", name_of(phase),
                          traffic.messages_sent, traffic.bytes_sent,
                          traffic.messages_received, traffic.bytes_received);
    }
    return text;
  }

  const std::vector<RankTrace>& traces_;
  std::vector<RankPicture> pictures_;
  std::map<MessageKey, Ends> messages_;
  std::int64_t zero_ = 0;  // ns on rank 0's clock where the picture begins
  bool first_line_ = true;
};

}  // namespace

void write_chrome_trace(const std::filesystem::path& path,
                        const std::vector<RankTrace>& traces) {
  errno = 0;
  std::ofstream out(path);
  if (out) ChromeTrace(traces).write(out);
  out.close();
  if (!out) {
    throw Error(fmt::format("{}: cannot write: {}", path.string(),
                            std::strerror(errno)));
  }
}

}  // namespace ringlet
