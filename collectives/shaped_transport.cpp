#include "collectives/shaped_transport.h"

#include <sys/prctl.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "collectives/backoff.h"
#include "collectives/network_time.h"

namespace ringlet {
namespace {

// A sleep may last this much longer than it was asked to: the last stretch
// before a time that is to be met is spent yielding.
constexpr Nanoseconds kOversleep = 60'000;
// For so long a message is expected at any moment.
constexpr Nanoseconds kPatience = 800'000;
// Sleeps end after 10 ms, to see whether the wait is cancelled; while messages
// may come in, after a time that is small beside the latency.
constexpr Nanoseconds kLongestSleep = 10'000'000;
constexpr Nanoseconds kShortestNap = 10'000;
constexpr double kNapShare = 0.01;

// Sleeps to the microsecond: unless asked, Linux adds up to 50 to any sleep.
// Where it refuses, the sleep is longer, and nothing else is lost.
void sleep_for(Nanoseconds time) {
  const int slack = prctl(PR_GET_TIMERSLACK);
  prctl(PR_SET_TIMERSLACK, 1);
  std::this_thread::sleep_for(std::chrono::nanoseconds(time));
  prctl(PR_SET_TIMERSLACK, slack);
}

// What a rank's requests share.
class Shaper {
 public:
  Shaper(const Transport& inner, const NetworkShape& shape)
      : inner_(inner),
        shape_(shape),
        last_arrivals_(static_cast<std::size_t>(inner.size())) {
    std::seed_seq seeds{static_cast<std::uint32_t>(shape.seed),
                        static_cast<std::uint32_t>(shape.seed >> 32),
                        static_cast<std::uint32_t>(inner.rank())};
    random_.seed(seeds);
  }

  Nanoseconds now() const { return inner_.now(); }

  Nanoseconds departure(int peer, std::size_t bytes) {
    const Nanoseconds length = duration(peer, bytes);
    return way_out_.take(now(), length) + length;
  }

  // Of a message that has just been found.
  Nanoseconds arrival(int peer, std::size_t bytes) {
    const Nanoseconds length = duration(peer, bytes);
    const Nanoseconds passed = way_in_.take(now(), length) + length;
    const double latency =
        is_slow(peer) ? shape_.slow_link->latency : shape_.latency;
    const double jitter = shape_.jitter * unit_(random_);
    Nanoseconds& last = last_arrivals_[static_cast<std::size_t>(peer)];
    last = std::max(last, passed + nanoseconds(latency + jitter));
    return last;
  }

 private:
  bool is_slow(int peer) const {
    if (!shape_.slow_link) return false;
    const auto [a, b] = std::pair(shape_.slow_link->a, shape_.slow_link->b);
    const int rank = inner_.rank();
    return (a == rank && b == peer) || (a == peer && b == rank);
  }

  Nanoseconds duration(int peer, std::size_t bytes) const {
    return time_of(
        bytes, is_slow(peer) ? shape_.slow_link->bandwidth : shape_.bandwidth);
  }

  const Transport& inner_;
  NetworkShape shape_;
  std::minstd_rand random_;
  std::uniform_real_distribution<double> unit_;
  Way way_out_, way_in_;
  std::vector<Nanoseconds> last_arrivals_;  // by peer
};

// A request is in the list of those under way until the inner one is done, so
// that who waits for one finds the messages of all.
class ShapedRequest final : public Transport::Request {
 public:
  using List = std::vector<ShapedRequest*>;

  ShapedRequest(Shaper& shaper, List& under_way, Transport::RequestPtr inner,
                int peer, std::size_t bytes, bool is_send)
      : shaper_(shaper),
        under_way_(under_way),
        inner_(std::move(inner)),
        peer_(peer),
        bytes_(bytes),
        is_send_(is_send),
        due_(is_send ? shaper.departure(peer, bytes) : 0) {
    under_way_.push_back(this);
  }
  ~ShapedRequest() override { std::erase(under_way_, this); }

  // Looks at the others only where this one is not done: what is done stays so
  // when the job is given up, and they throw.
  bool test() override {
    if (!found_ && look()) std::erase(under_way_, this);
    if (found_ && shaper_.now() >= due_) return true;
    std::erase_if(under_way_,
                  [](ShapedRequest* other) { return other->look(); });
    return false;
  }

  // How long the request is held back for certain; 0 where the inner one is
  // not done.
  Nanoseconds held_for() const {
    return found_ ? std::max(due_ - shaper_.now(), Nanoseconds{1}) : 0;
  }

 private:
  bool look() {
    found_ = inner_->test();
    if (found_ && !is_send_) due_ = shaper_.arrival(peer_, bytes_);
    return found_;
  }

  Shaper& shaper_;
  List& under_way_;
  Transport::RequestPtr inner_;
  int peer_;
  std::size_t bytes_;
  bool is_send_;
  bool found_ = false;  // the inner request is done
  Nanoseconds due_;     // of a receive: once found
};

class ShapedTransport final : public Transport {
 public:
  ShapedTransport(std::unique_ptr<Transport> inner, const NetworkShape& shape)
      : inner_(std::move(inner)),
        shaper_(*inner_, shape),
        nap_(std::clamp(nanoseconds(shape.latency * kNapShare), kShortestNap,
                        kLongestSleep)) {}

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }

  RequestPtr isend(int peer, const void* data, std::size_t bytes) override {
    return std::make_unique<ShapedRequest>(shaper_, under_way_,
                                           inner_->isend(peer, data, bytes),
                                           peer, bytes, true);
  }

  RequestPtr irecv(int peer, void* data, std::size_t bytes) override {
    return std::make_unique<ShapedRequest>(shaper_, under_way_,
                                           inner_->irecv(peer, data, bytes),
                                           peer, bytes, false);
  }

  void wait(Request& request) override {
    auto& shaped = static_cast<ShapedRequest&>(request);
    const Nanoseconds start = now();
    Backoff backoff(0);
    while (!shaped.test()) {
      if (cancelled_) throw Cancelled("gave up waiting for another rank");
      const Nanoseconds sleep = longest_sleep(shaped, now() - start);
      if (sleep > 0) {
        sleep_for(sleep);
      } else {
        backoff.pause(urgent_ || shaped.held_for() > 0);
      }
    }
  }

  void cancel() noexcept override {
    cancelled_ = true;
    inner_->cancel();
  }
  bool is_cancelled() const noexcept override { return cancelled_; }
  void set_urgent(bool urgent) override {
    urgent_ = urgent;
    inner_->set_urgent(urgent);
  }
  std::int64_t now() const override { return inner_->now(); }
  void reduced(std::size_t bytes) override { inner_->reduced(bytes); }

 private:
  // How long a wait that has lasted for `waited` may sleep; not at all where
  // that is not above 0.
  Nanoseconds longest_sleep(const ShapedRequest& request,
                            Nanoseconds waited) const {
    const Nanoseconds held = request.held_for();
    if (held == 0) return waited < kPatience ? 0 : nap_;
    return std::min(held - kOversleep,
                    under_way_.empty() ? kLongestSleep : nap_);
  }

  std::unique_ptr<Transport> inner_;
  Shaper shaper_;
  ShapedRequest::List under_way_;
  Nanoseconds nap_;  // while messages may come in
  std::atomic<bool> cancelled_ = false;
  std::atomic<bool> urgent_ = true;
};

void check(const NetworkShape& shape, int size) {
  check_time("latency", shape.latency);
  check_bandwidth("bandwidth", shape.bandwidth);
  check_time("jitter", shape.jitter);
  if (!shape.slow_link) return;
  check_link(shape.slow_link->a, shape.slow_link->b, size);
  check_time("slow link's latency", shape.slow_link->latency);
  check_bandwidth("slow link's bandwidth", shape.slow_link->bandwidth);
}

}  // namespace

std::unique_ptr<Transport> make_shaped_transport(
    std::unique_ptr<Transport> inner, const NetworkShape& shape) {
  check(shape, inner->size());
  return std::make_unique<ShapedTransport>(std::move(inner), shape);
}

}  // namespace ringlet
