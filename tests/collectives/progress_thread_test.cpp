#include "collectives/progress_thread.h"

#include <atomic>
#include <future>
#include <string>
#include <thread>

#include "kernels/runtime/error.h"
#include "support/catch.h"

namespace ringlet {
namespace {

void ignore_urgency(bool) {}

TEST_CASE("a blocking job with nothing in flight runs on the caller's thread") {
  ProgressThread progress(ignore_urgency);
  std::thread::id ran_on;
  progress.run([&] { ran_on = std::this_thread::get_id(); });
  CHECK(ran_on == std::this_thread::get_id());
  progress.submit([&] { ran_on = std::this_thread::get_id(); }).wait();
  CHECK(ran_on != std::this_thread::get_id());
  progress.run([&] { ran_on = std::this_thread::get_id(); });
  CHECK(ran_on == std::this_thread::get_id());
}

TEST_CASE("jobs run in the order of the calls, blocking ones behind others") {
  std::promise<void> gate;
  std::string order;
  ProgressThread progress(ignore_urgency);
  Work a = progress.submit([&] { gate.get_future().wait(), order += 'a'; });
  Work b = progress.submit([&] { order += 'b'; });
  CHECK_FALSE(a.done());
  CHECK_FALSE(b.done());
  gate.set_value();
  progress.run([&] { order += 'c'; });
  CHECK(order == "abc");
  CHECK(a.done());
  CHECK(b.done());
}

TEST_CASE("its end finishes what is in flight") {
  std::atomic<int> finished = 0;
  {
    ProgressThread progress(ignore_urgency);
    for (int i = 0; i < 5; ++i) progress.submit([&] { ++finished; });
  }
  CHECK(finished == 5);
}

TEST_CASE("urgency follows those who wait") {
  std::atomic<bool> urgent = true;
  std::promise<void> started;
  ProgressThread progress([&](bool now) { urgent = now; });
  Work work = progress.submit([&] {
    started.set_value();
    while (!urgent) std::this_thread::yield();
  });
  started.get_future().wait();
  CHECK_FALSE(urgent);
  work.wait();
  bool urgent_inside = true;
  Work next = progress.submit([&] { urgent_inside = urgent; });
  while (!next.done()) std::this_thread::yield();
  CHECK_FALSE(urgent_inside);
  progress.run([&] { urgent_inside = urgent; });
  CHECK(urgent_inside);
}

TEST_CASE("a job that throws takes everything behind it along") {
  ProgressThread progress(ignore_urgency);
  std::promise<void> gate;
  bool ran = false;
  Work good = progress.submit([&] { gate.get_future().wait(); });
  Work bad = progress.submit([] { throw Error("broken"); });
  Work behind = progress.submit([&] { ran = true; });
  gate.set_value();
  CHECK_THROWS_WITH(behind.wait(), "broken");
  CHECK_THROWS_WITH(bad.wait(), "broken");
  CHECK_NOTHROW(good.wait());
  CHECK_THROWS_WITH(progress.submit([&] { ran = true; }), "broken");
  CHECK_THROWS_WITH(progress.run([&] { ran = true; }), "broken");
  CHECK_FALSE(ran);
}

TEST_CASE("a blocking job that throws does, too") {
  ProgressThread progress(ignore_urgency);
  CHECK_THROWS_WITH(progress.run([] { throw Error("broken"); }), "broken");
  CHECK_THROWS_WITH(progress.submit([] {}), "broken");
}

}  // namespace
}  // namespace ringlet
