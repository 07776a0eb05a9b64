#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

// Streams, events and graphs. What a thread enqueues is done at once; or, while
// the thread records, kept; or, where streams are late, when somebody waits for
// it, which is as late as a GPU may be: who forgets to wait sees that. (Not
// where memory is shared with other processes.)
namespace cudacpu {

using Action = std::function<void()>;
using Work = std::vector<Action>;

class Stream;

// A place in a stream.
struct Mark {
  std::shared_ptr<Stream> stream;
  std::uint64_t place = 0;

  bool is_done() const;
  void run() const;  // until it is done
};

// Null is the default stream. As a cudaStream_t a stream is a pointer to its
// shared_ptr.
using StreamHandle = std::shared_ptr<Stream>*;
StreamHandle make_stream();
void drop_stream(StreamHandle stream);  // does what is left

void enqueue(StreamHandle stream, Action action);
template <typename Handle>
void enqueue(Handle stream, Action action) {
  enqueue(reinterpret_cast<StreamHandle>(stream), std::move(action));
}
Mark end_of(StreamHandle stream);
void run_all_streams();

// Of all streams; late from the start where CUDACPU_STREAMS is "late".
void set_late(bool late);
bool are_late();

void begin_recording();
Work end_recording();
bool is_recording();

}  // namespace cudacpu
