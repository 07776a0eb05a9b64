#include "support/spawn_ranks.h"

#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "collectives/algorithm_communicator.h"

namespace ringlet::testing {
namespace {

// The exception of the rank that failed first, and not of those that it took
// with it.
class FirstFailure {
 public:
  void record_current() {
    const std::lock_guard lock(mutex_);
    try {
      throw;
    } catch (const Cancelled&) {
      if (!consequence_) consequence_ = std::current_exception();
    } catch (...) {
      if (!cause_) cause_ = std::current_exception();
    }
  }

  void rethrow() const {
    if (cause_) std::rethrow_exception(cause_);
    if (consequence_) std::rethrow_exception(consequence_);
  }

 private:
  std::mutex mutex_;
  std::exception_ptr cause_;
  std::exception_ptr consequence_;
};

}  // namespace

void spawn_transports(
    int size, const std::function<void(std::unique_ptr<Transport>)>& body) {
  ThreadWorld world(size);
  spawn_transports(world, body);
}

void spawn_transports(
    ThreadWorld& world,
    const std::function<void(std::unique_ptr<Transport>)>& body) {
  FirstFailure failure;
  std::vector<std::thread> threads;
  for (int rank = 0; rank < world.size(); ++rank) {
    threads.emplace_back([&, rank] {
      try {
        body(world.transport(rank));
      } catch (...) {
        failure.record_current();
        world.abort();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  failure.rethrow();
}

void spawn_ranks(int size, const std::function<void(Communicator&)>& body,
                 const CommunicatorOptions& options,
                 const std::string& algorithm) {
  spawn_transports(size, [&](std::unique_ptr<Transport> transport) {
    body(
        *make_algorithm_communicator(algorithm, std::move(transport), options));
  });
}

}  // namespace ringlet::testing
