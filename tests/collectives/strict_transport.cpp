#include "collectives/strict_transport.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <list>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "collectives/unwinding.h"
#include "kernels/runtime/check.h"

namespace ringlet::testing {
namespace {

struct Span {
  const std::byte* begin;
  const std::byte* end;

  bool overlaps(const Span& other) const {
    return begin < other.end && other.begin < end;
  }
};

// The memory that messages in flight use.
struct Ledger {
  std::list<Span> sends;
  std::list<Span> receives;
  bool dropped = false;
};

class StrictRequest final : public Transport::Request {
 public:
  StrictRequest(Transport& inner, Transport::RequestPtr request, Ledger& ledger,
                std::list<Span>& kind, const Span& span)
      : inner_(inner),
        request_(std::move(request)),
        ledger_(ledger),
        kind_(kind),
        entry_(kind.insert(kind.end(), span)) {
    if (&kind == &ledger.sends) sent_.assign(span.begin, span.end);
  }

  ~StrictRequest() override {
    if (!done_ && !unwinding_) ledger_.dropped = true;
  }

  bool test() override {
    if (request_->test()) finish();
    return done_;
  }
  void wait() {
    inner_.wait(*request_);
    finish();
  }

 private:
  void finish() {
    if (std::exchange(done_, true)) return;
    RINGLET_CHECK(std::equal(sent_.begin(), sent_.end(), entry_->begin),
                  "memory was changed while it was being sent");
    kind_.erase(entry_);
  }

  Transport& inner_;
  Transport::RequestPtr request_;
  Ledger& ledger_;
  std::list<Span>& kind_;
  std::list<Span>::iterator entry_;
  std::vector<std::byte> sent_;  // what a send found in its memory
  bool done_ = false;
  Unwinding unwinding_;
};

bool overlaps_any(const Span& span, const std::list<Span>& others) {
  return std::any_of(others.begin(), others.end(),
                     [&](const Span& other) { return span.overlaps(other); });
}

class StrictTransport final : public Transport {
 public:
  StrictTransport(std::unique_ptr<Transport> inner, TransportLog& log,
                  unsigned seed)
      : inner_(std::move(inner)), log_(log) {
    std::seed_seq seeds{seed, static_cast<unsigned>(inner_->rank())};
    random_.seed(seeds);
  }

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }

  RequestPtr isend(int peer, const void* data, std::size_t bytes) override {
    const Span span = span_of(data, bytes);
    RINGLET_CHECK(!overlaps_any(span, ledger_.receives),
                  "sends memory that is being received into");
    dawdle();
    log_.bytes_sent += bytes;
    auto request = std::make_unique<StrictRequest>(
        *inner_, inner_->isend(peer, data, bytes), ledger_, ledger_.sends,
        span);
    log_.most_sends_in_flight =
        std::max(log_.most_sends_in_flight, ledger_.sends.size());
    return request;
  }

  RequestPtr irecv(int peer, void* data, std::size_t bytes) override {
    const Span span = span_of(data, bytes);
    RINGLET_CHECK(!overlaps_any(span, ledger_.sends),
                  "receives into memory that is being sent");
    RINGLET_CHECK(!overlaps_any(span, ledger_.receives),
                  "two receives into the same memory");
    dawdle();
    auto request = std::make_unique<StrictRequest>(
        *inner_, inner_->irecv(peer, data, bytes), ledger_, ledger_.receives,
        span);
    log_.most_receives_in_flight =
        std::max(log_.most_receives_in_flight, ledger_.receives.size());
    return request;
  }

  void wait(Request& request) override {
    dawdle();
    static_cast<StrictRequest&>(request).wait();
  }

  void cancel() noexcept override { inner_->cancel(); }
  bool is_cancelled() const noexcept override { return inner_->is_cancelled(); }
  std::int64_t now() const override { return inner_->now(); }
  void reduced(std::size_t bytes) override { inner_->reduced(bytes); }

 private:
  static Span span_of(const void* data, std::size_t bytes) {
    const auto* begin = static_cast<const std::byte*>(data);
    return {begin, begin + bytes};
  }

  void dawdle() {
    RINGLET_CHECK(!ledger_.dropped, "a request was dropped before its end");
    const auto draw = random_() % 64;
    if (draw == 0) {
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    } else if (draw < 16) {
      std::this_thread::yield();
    }
  }

  std::unique_ptr<Transport> inner_;
  TransportLog& log_;
  Ledger ledger_;
  std::minstd_rand random_;
};

}  // namespace

std::unique_ptr<Transport> make_strict_transport(
    std::unique_ptr<Transport> inner, TransportLog& log, unsigned seed) {
  return std::make_unique<StrictTransport>(std::move(inner), log, seed);
}

}  // namespace ringlet::testing
