#include "collectives/thread_transport.h"

#include <functional>
#include <thread>

#include "support/catch.h"

namespace ringlet {
namespace {

TEST_CASE("a send is done only when its receive has taken it") {
  ThreadWorld world(2);
  const auto a = world.transport(0), b = world.transport(1);
  const int sent = 42;
  int received = 0;
  const auto send = a->isend(1, &sent, sizeof sent);
  CHECK_FALSE(send->test());
  const auto receive = b->irecv(0, &received, sizeof received);
  CHECK(send->test());
  CHECK(receive->test());
  CHECK(received == 42);
}

TEST_CASE("messages between two ranks keep their order, and pairs are apart") {
  ThreadWorld world(3);
  const auto a = world.transport(0), b = world.transport(1),
             c = world.transport(2);
  const int values[] = {1, 2, 3};
  int from_a[2] = {}, from_b = 0;
  const auto receive_b = c->irecv(1, &from_b, sizeof(int));
  const auto receive_a0 = c->irecv(0, &from_a[0], sizeof(int));
  const auto send_a0 = a->isend(2, &values[0], sizeof(int));
  const auto send_a1 = a->isend(2, &values[1], sizeof(int));
  const auto receive_a1 = c->irecv(0, &from_a[1], sizeof(int));
  CHECK_FALSE(receive_b->test());
  const auto send_b = b->isend(2, &values[2], sizeof(int));
  for (const auto* request :
       {&receive_a0, &send_a0, &send_a1, &receive_a1, &receive_b, &send_b}) {
    CHECK((*request)->test());
  }
  CHECK(from_a[0] == 1);
  CHECK(from_a[1] == 2);
  CHECK(from_b == 3);
}

TEST_CASE("messages of no bytes, and to oneself") {
  ThreadWorld world(1);
  const auto self = world.transport(0);
  const auto receive = self->irecv(0, nullptr, 0);
  CHECK_FALSE(receive->test());
  const auto send = self->isend(0, nullptr, 0);
  self->wait(*send);
  self->wait(*receive);
}

TEST_CASE("both ends hear of lengths that differ, and nothing is copied") {
  ThreadWorld world(2);
  const auto a = world.transport(0), b = world.transport(1);
  char sent[8] = {1}, received[4] = {};
  const auto send = a->isend(1, sent, 8);
  const auto receive = b->irecv(0, received, 4);
  const auto message =
      ContainsSubstring("one rank sends 8 bytes where the other wants 4");
  CHECK_THROWS_WITH(a->wait(*send), message);
  CHECK_THROWS_WITH(receive->test(), message);
  CHECK(received[0] == 0);
}

TEST_CASE("a request that is dropped is forgotten") {
  ThreadWorld world(2);
  const auto a = world.transport(0), b = world.transport(1);
  const int first = 1, second = 2;
  int received = 0;
  a->isend(1, &first, sizeof(int)).reset();
  const auto send = a->isend(1, &second, sizeof(int));
  const auto receive = b->irecv(0, &received, sizeof(int));
  CHECK(receive->test());
  CHECK(received == 2);
}

void check_end_of_waits(
    const std::function<void(ThreadWorld&, Transport&)>& end) {
  ThreadWorld world(2);
  const auto a = world.transport(0), b = world.transport(1);
  int sent = 0, received = 0, never = 0;
  const auto done_send = a->isend(1, &sent, sizeof sent);
  const auto done_receive = b->irecv(0, &received, sizeof received);
  const auto pending = a->irecv(1, &never, sizeof never);
  std::thread other([&] { end(world, *b); });
  CHECK_THROWS_AS(a->wait(*pending), Cancelled);
  other.join();
  CHECK_THROWS_AS(pending->test(), Cancelled);
  CHECK_NOTHROW(a->wait(*done_send));
  CHECK_NOTHROW(b->wait(*done_receive));
  const auto later = b->irecv(0, &never, sizeof never);
  CHECK_THROWS_AS(b->wait(*later), Cancelled);
}

TEST_CASE(
    "abort and cancel end pending and later waits, and keep what is done") {
  check_end_of_waits([](ThreadWorld& world, Transport&) { world.abort(); });
  check_end_of_waits([](ThreadWorld&, Transport& rank) { rank.cancel(); });
}

}  // namespace
}  // namespace ringlet
