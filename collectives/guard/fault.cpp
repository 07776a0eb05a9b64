#include "collectives/guard/fault.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <thread>
#include <utility>
#include <vector>

#include "collectives/forwarding_collectives.h"
#include "collectives/forwarding_transport.h"
#include "kernels/runtime/check.h"
#include "kernels/runtime/number.h"

namespace ringlet {
namespace {

using Seconds = std::chrono::duration<double>;

struct KindName {
  const char* name;
  FaultKind kind;
};
constexpr std::array kKinds{
    KindName{"delay", FaultKind::kDelay},
    KindName{"lost", FaultKind::kLost},
    KindName{"flip", FaultKind::kFlip},
    KindName{"count", FaultKind::kCount},
    KindName{"dtype", FaultKind::kDtype},
    KindName{"redop", FaultKind::kOperator},
    KindName{"tag", FaultKind::kTag},
    KindName{"swap", FaultKind::kSwap},
    KindName{"skip", FaultKind::kSkip},
    KindName{"extra", FaultKind::kExtra},
    KindName{"kill", FaultKind::kKill},
    KindName{"segfault", FaultKind::kSegfault},
    KindName{"exit", FaultKind::kExit},
    KindName{"stop", FaultKind::kStop},
    KindName{"throw", FaultKind::kThrow},
};
constexpr std::array kOps{
    CollectiveKind::kAllReduce, CollectiveKind::kReduceScatter,
    CollectiveKind::kAllGather, CollectiveKind::kReduce,
    CollectiveKind::kBroadcast, CollectiveKind::kBarrier};

const char* name_of(FaultKind kind) {
  return std::find_if(kKinds.begin(), kKinds.end(),
                      [&](const KindName& known) { return known.kind == kind; })
      ->name;
}

[[noreturn]] void refuse(const std::string& word, const std::string& expected) {
  throw Error(fmt::format("fault: '{}', expected {}", word, expected));
}

template <typename Number>
Number number(const std::string& text, Number least,
              const std::string& expected) {
  const auto value = parse_number<Number>(text);
  if (!value || !(*value >= least)) refuse(text, expected);
  return *value;
}

// What stands before the first `mark`, and what behind it.
std::pair<std::string, std::string> split(const std::string& text, char mark) {
  const std::size_t at = text.find(mark);
  if (at == std::string::npos) return {text, ""};
  return {text.substr(0, at), text.substr(at + 1)};
}

void take_op(const std::string& text, Fault& fault) {
  const auto [name, count] = split(text, '#');
  if (!count.empty()) {
    fault.number = number<std::uint64_t>(count, 1, "a number from 1 behind #");
  }
  if (name == "call") return;
  for (const CollectiveKind kind : kOps) {
    if (name == name_of(kind)) fault.op = kind;
  }
  if (!fault.op) refuse(name, "op=all_reduce#N, another collective, or call#N");
}

void take_kind(const std::string& text, Fault& fault) {
  const auto [name, value] = split(text, ':');
  for (const KindName& known : kKinds) {
    if (name != known.name) continue;
    fault.kind = known.kind;
    if (fault.kind == FaultKind::kDelay) {
      fault.seconds = number<double>(value, 0, "kind=delay:SECONDS");
    } else if (!value.empty()) {
      refuse(text, "kind=" + name);
    }
    return;
  }
  refuse(text, fault_help());
}

[[noreturn]] void hang() {
  for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
}

void flip_bit(void* data) {
  constexpr std::byte kBit{0x10};  // in a float: one of its fraction
  *static_cast<std::byte*>(data) ^= kBit;
}

Dtype same_size(Dtype dtype) {
  switch (dtype) {
    case Dtype::kF32:
      return Dtype::kI32;
    case Dtype::kI32:
      return Dtype::kF32;
    case Dtype::kF64:
      return Dtype::kI64;
    case Dtype::kI64:
      return Dtype::kF64;
    case Dtype::kF16:
      return Dtype::kBF16;
    case Dtype::kBF16:
      return Dtype::kF16;
    case Dtype::kU8:
      break;
  }
  throw Error("fault: no other type has the size of u8");
}

}  // namespace

Fault parse_fault(const std::string& text) {
  Fault fault;
  bool rank = false, kind = false;
  for (auto rest = text; !rest.empty();) {
    const auto [word, others] = split(rest, ',');
    const auto [name, value] = split(word, '=');
    if (name == "rank") {
      fault.rank = number<int>(value, 0, "rank=R");
      rank = true;
    } else if (name == "op") {
      take_op(value, fault);
    } else if (name == "kind") {
      take_kind(value, fault);
      kind = true;
    } else if (name == "message") {
      fault.message = number<std::uint64_t>(value, 0, "message=M");
    } else {
      refuse(word, fault_help());
    }
    rest = others;
  }
  if (!rank || !kind) refuse(text, fault_help());
  const bool of_message = fault.kind == FaultKind::kDelay ||
                          fault.kind == FaultKind::kLost ||
                          fault.kind == FaultKind::kFlip;
  if (fault.message && !of_message) {
    refuse(text, "message= with delay, lost or flip");
  }
  return fault;
}

std::string fault_help() {
  std::string kinds;
  for (const KindName& kind : kKinds) {
    kinds += fmt::format("{}{}", kinds.empty() ? "" : ", ", kind.name);
  }
  return fmt::format(
      "rank=R,op=OP#N,kind=KIND: the Nth OP (all_reduce, ..., or call) of rank "
      "R; KIND is one of {}; delay:SECONDS, lost and flip also of one "
      "message=M of it",
      kinds);
}

struct FaultState {
  Fault fault;
  std::uint64_t calls = 0;  // of the kind in question
  bool armed = false;       // in the call whose message is meant
  std::uint64_t messages = 0;

  bool hits(const Collective& call) {
    return (!fault.op || *fault.op == call.kind) && ++calls == fault.number;
  }
};

namespace {

// What goes wrong with a call before it is made.
Collective altered(Collective call, FaultKind kind) {
  switch (kind) {
    case FaultKind::kCount:
      call.count -= call.count > 0 ? 1 : 0;
      break;
    case FaultKind::kDtype:
      call.dtype = same_size(call.dtype);
      break;
    case FaultKind::kOperator:
      call.op = call.op == ReduceOp::kMax ? ReduceOp::kSum : ReduceOp::kMax;
      break;
    case FaultKind::kTag:
      ++call.tag;
      break;
    default:
      break;
  }
  return call;
}

// What becomes of the rank itself.
void suffer(const Fault& fault) {
  switch (fault.kind) {
    case FaultKind::kDelay:
      return std::this_thread::sleep_for(Seconds(fault.seconds));
    case FaultKind::kLost:
      hang();
    case FaultKind::kKill:
      std::raise(SIGKILL);
      break;
    case FaultKind::kSegfault:
      std::signal(SIGSEGV, SIG_DFL);
      std::raise(SIGSEGV);
      break;
    case FaultKind::kExit:
      ::_exit(0);
    case FaultKind::kStop:
      std::raise(SIGSTOP);
      break;
    case FaultKind::kThrow:
      throw Error("the fault that --fault asked for");
    default:
      break;
  }
}

class FaultyCollectives final : public ForwardingCollectives {
 public:
  FaultyCollectives(std::unique_ptr<HostCollectives> inner,
                    std::shared_ptr<FaultState> state)
      : ForwardingCollectives(std::move(inner)), state_(std::move(state)) {}

  void run(const Collective& call) override {
    if (held_) {
      const Collective first = *std::exchange(held_, std::nullopt);
      inner().run(call);
      return inner().run(first);
    }
    const Fault& fault = state_->fault;
    if (rank() != fault.rank || !state_->hits(call)) return inner().run(call);
    announce(call);
    if (fault.message) {
      state_->armed = true;
      inner().run(call);
      state_->armed = false;
      return;
    }
    suffer(fault);
    if (fault.kind == FaultKind::kSkip) return;
    if (fault.kind == FaultKind::kSwap) {
      held_ = call;
      return;
    }
    inner().run(altered(call, fault.kind));
    if (fault.kind == FaultKind::kExtra) inner().run(call);
    if (fault.kind == FaultKind::kFlip && call.count > 0) {
      flip_bit(call.output);
    }
  }

 private:
  void announce(const Collective& call) const {
    fmt::print(stderr, "rank {} has its fault now: {} at {}\n", rank(),
               name_of(state_->fault.kind), describe(call));
  }

  std::shared_ptr<FaultState> state_;
  std::optional<Collective> held_;  // to be made after the next one
};

// A message with a fault: it has no partner where it is lost, and a copy of its
// data where they are wrong.
struct FaultyRequest final : Transport::Request {
  int peer = kNobody;
  Transport::RequestPtr request;
  std::vector<std::byte> data;

  bool test() override { return request && request->test(); }
};

class FaultyTransport final : public ForwardingTransport {
 public:
  FaultyTransport(std::unique_ptr<Transport> inner,
                  std::shared_ptr<FaultState> state)
      : ForwardingTransport(std::move(inner)), state_(std::move(state)) {}

  RequestPtr isend(int peer, const void* data, std::size_t bytes) override {
    const bool hit =
        state_->armed && state_->messages++ == *state_->fault.message;
    if (!hit) return inner().isend(peer, data, bytes);
    auto faulty = std::make_unique<FaultyRequest>();
    faulty->peer = peer;
    if (state_->fault.kind == FaultKind::kLost) return faulty;
    const auto* begin = static_cast<const std::byte*>(data);
    faulty->data.assign(begin, begin + bytes);
    if (state_->fault.kind == FaultKind::kDelay) suffer(state_->fault);
    if (state_->fault.kind == FaultKind::kFlip && bytes > 0) {
      flip_bit(faulty->data.data());
    }
    faulty->request = inner().isend(peer, faulty->data.data(), bytes);
    return faulty;
  }

  void wait(Request& request) override {
    auto* faulty = dynamic_cast<FaultyRequest*>(&request);
    if (faulty == nullptr) return inner().wait(request);
    if (faulty->request) return inner().wait(*faulty->request);
    waiting_for_ = faulty->peer;
    while (!cancelled_) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    throw Cancelled("gave up waiting for another rank");
  }

  void cancel() noexcept override {
    cancelled_ = true;
    inner().cancel();
  }
  int waiting_for() const override {
    const int lost = waiting_for_;
    return lost != kNobody ? lost : inner().waiting_for();
  }

 private:
  std::shared_ptr<FaultState> state_;
  std::atomic<bool> cancelled_ = false;
  std::atomic<int> waiting_for_ = kNobody;
};

}  // namespace

FaultInjector::FaultInjector(const Fault& fault)
    : state_(std::make_shared<FaultState>(FaultState{.fault = fault})) {}

std::unique_ptr<HostCollectives> FaultInjector::around(
    std::unique_ptr<HostCollectives> collectives) {
  return std::make_unique<FaultyCollectives>(std::move(collectives), state_);
}

std::unique_ptr<Transport> FaultInjector::around(
    std::unique_ptr<Transport> transport) {
  return std::make_unique<FaultyTransport>(std::move(transport), state_);
}

}  // namespace ringlet
