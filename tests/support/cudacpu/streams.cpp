#include "support/cudacpu/streams.h"

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <mutex>
#include <optional>
#include <set>
#include <stdexcept>
#include <thread>
#include <utility>

namespace cudacpu {

// Any thread may do the work of any stream; one at a time, in its order.
class Stream {
 public:
  void push(Action action) {
    const std::lock_guard lock(queue_mutex_);
    queue_.push_back(std::move(action));
    ++pushed_;
  }

  std::uint64_t end() {
    const std::lock_guard lock(queue_mutex_);
    return pushed_;
  }
  bool has_done(std::uint64_t place) const { return done_ >= place; }

  // Does not wait for another thread that works on it, which may have gone past
  // `place` and wait for one of this thread's streams.
  void run_until(std::uint64_t place) {
    while (!has_done(place)) {
      const std::unique_lock lock(running_, std::try_to_lock);
      if (!lock) {
        std::this_thread::yield();
      } else if (!has_done(place)) {
        run_one();
      }
    }
  }

 private:
  void run_one() {
    Action action;
    {
      const std::lock_guard lock(queue_mutex_);
      action = std::move(queue_.front());
      queue_.pop_front();
    }
    action();
    ++done_;
  }

  std::mutex queue_mutex_, running_;
  std::deque<Action> queue_;
  std::uint64_t pushed_ = 0;
  std::atomic<std::uint64_t> done_ = 0;
};

namespace {

thread_local std::optional<Work> t_recorded;

bool asked_to_be_late() {
  const char* said = std::getenv("CUDACPU_STREAMS");
  return said != nullptr && std::strcmp(said, "late") == 0;
}

// Made before any thread and never destroyed, like the device's memory.
struct Streams {
  std::mutex mutex;
  std::shared_ptr<Stream> first = std::make_shared<Stream>();
  std::set<std::shared_ptr<Stream>> all{first};
  std::atomic<bool> late = asked_to_be_late();
};
Streams& g_streams = *new Streams;
Streams& streams() { return g_streams; }

std::shared_ptr<Stream>& stream_of(StreamHandle handle) {
  return handle == nullptr ? streams().first : *handle;
}

}  // namespace

bool Mark::is_done() const { return !stream || stream->has_done(place); }
void Mark::run() const {
  if (stream) stream->run_until(place);
}

StreamHandle make_stream() {
  auto stream = std::make_shared<Stream>();
  const std::lock_guard lock(streams().mutex);
  streams().all.insert(stream);
  return new std::shared_ptr<Stream>(std::move(stream));
}

void drop_stream(StreamHandle handle) {
  end_of(handle).run();
  const std::lock_guard lock(streams().mutex);
  streams().all.erase(*handle);
  delete handle;
}

void enqueue(StreamHandle handle, Action action) {
  if (t_recorded) return t_recorded->push_back(std::move(action));
  if (!are_late()) return action();
  stream_of(handle)->push(std::move(action));
}

// Nothing waits where streams are not late.
Mark end_of(StreamHandle handle) {
  if (!are_late()) return {};
  const auto& stream = stream_of(handle);
  return {stream, stream->end()};
}

void run_all_streams() {
  if (!are_late()) return;
  std::set<std::shared_ptr<Stream>> all;
  {
    const std::lock_guard lock(streams().mutex);
    all = streams().all;
  }
  for (const auto& stream : all) stream->run_until(stream->end());
}

void set_late(bool late) {
  if (!late) run_all_streams();
  streams().late = late;
}
bool are_late() { return streams().late; }

void begin_recording() {
  if (t_recorded) throw std::runtime_error("cudacpu: records already");
  t_recorded.emplace();
}

Work end_recording() {
  if (!t_recorded) throw std::runtime_error("cudacpu: does not record");
  return *std::exchange(t_recorded, std::nullopt);
}

bool is_recording() { return t_recorded.has_value(); }

}  // namespace cudacpu
