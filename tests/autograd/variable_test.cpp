#include "engine/autograd/variable.h"

#include <algorithm>

#include "engine/autograd/ops.h"
#include "engine/autograd/parameter_arena.h"
#include "kernels/runtime/error.h"
#include "support/catch.h"
#include "support/gradcheck.h"

using namespace ringlet;
using namespace ringlet::testing;

namespace {

Variable sum_of(const Variable& x) {
  float sum = 0;
  for (const float value : x.data().to_vector()) sum += value;
  return make_result("sum", Tensor::of({}, {sum}), {x},
                     [x = x.without_value()](const Tensor&) {
                       GradSink dx(x);
                       const Tensor& ones = dx.memory();
                       std::fill_n(ones.data(), ones.count(), 1.0f);
                       dx.deliver();
                     });
}

Variable leaf(std::vector<float> values) {
  const auto count = static_cast<std::int64_t>(values.size());
  return Variable(Tensor::of({count}, values), true);
}

}  // namespace

TEST_CASE("gradients of a variable used several times add up") {
  const Variable x = leaf({1, -2, 3});
  // ((x + x) + x) + relu(x): the shared gradient must not be changed in place.
  backward(sum_of(add(add(add(x, x), x), relu(x))));
  CHECK(x.grad().to_vector() == std::vector<float>{4, 3, 4});
}

TEST_CASE("a shared gradient that is added to leaves its sharers alone") {
  const Variable a = leaf({1, 1}), b = leaf({1, 1});
  const Variable middle = add(a, b);
  backward(sum_of(add(middle, a)));
  CHECK(a.grad().to_vector() == std::vector<float>{2, 2});
  CHECK(b.grad().to_vector() == std::vector<float>{1, 1});
}

TEST_CASE("a second backward adds unless the gradient was forgotten") {
  const Variable x = leaf({1, 2});
  backward(sum_of(relu(x)));
  backward(sum_of(relu(x)));
  CHECK(x.grad().to_vector() == std::vector<float>{2, 2});
  x.zero_grad();
  backward(sum_of(relu(x)));
  CHECK(x.grad().to_vector() == std::vector<float>{1, 1});
}

TEST_CASE("an op may use a leaf of an arena twice") {
  const Variable x = leaf({1, 2});
  const ParameterArena arena({x});
  const Variable twice =
      make_result("twice", Tensor::of({}, {0}), {x, x}, [=](const Tensor&) {
        GradSink first(x), second(x);
        std::fill_n(first.memory().data(), 2, 1.0f);
        std::fill_n(second.memory().data(), 2, 10.0f);
        first.deliver();
        second.deliver();
      });
  backward(twice);
  CHECK(x.grad().to_vector() == std::vector<float>{11, 11});
  CHECK(arena.gradients()[0] == 11);
}

TEST_CASE("a graph goes backward once") {
  const Variable x = leaf({1, 2});
  const Variable loss = sum_of(relu(x));
  backward(loss);
  CHECK_THROWS_WITH(backward(loss), ContainsSubstring("a second time"));
}

TEST_CASE("hooks fire once, when the gradient is complete, in reverse order") {
  const Variable early = leaf({1, 2}), late = leaf({3, 4});
  std::vector<std::string> fired;
  early.set_name("early");
  late.set_name("late");
  for (const Variable& v : {early, late}) {
    v.set_grad_hook([&](const Variable& ready) {
      fired.push_back(ready.name());
      if (ready.name() == "early") {
        CHECK(ready.grad().to_vector() == std::vector<float>{2, 2});
      }
    });
  }
  const Variable first = relu(add(early, early));
  backward(sum_of(add(relu(first), late)));
  CHECK(fired == std::vector<std::string>{"late", "early"});
}

TEST_CASE("nothing is recorded without need") {
  const Variable constant(Tensor::of({1}, {1}));
  CHECK(relu(constant).node() == nullptr);
  const Variable x = leaf({1});
  {
    const NoGradGuard no_grad;
    CHECK(relu(x).node() == nullptr);
  }
  CHECK(relu(x).node() != nullptr);
  CHECK_THROWS_AS(backward(constant), Error);
  CHECK_THROWS_WITH(x.grad(), ContainsSubstring("no gradient yet"));
}

TEST_CASE("backward frees what the graph saved") {
  const Variable x = leaf(std::vector<float>(1 << 20, 1.0f));
  const std::size_t before = allocator_stats().bytes_in_use;
  const Variable loss = sum_of(relu(relu(relu(x))));
  CHECK(allocator_stats().bytes_in_use > before + (12u << 20) - 1);
  backward(loss);
  x.zero_grad();
  CHECK(allocator_stats().bytes_in_use <= before + (1 << 16));
}

TEST_CASE("a graph keeps no value that its backward does not read") {
  constexpr std::int64_t kCount = 1 << 20;
  const std::size_t before = allocator_stats().bytes_in_use;
  Variable sum;
  {
    const Variable x = leaf(std::vector<float>(kCount, 1.0f));
    sum = sum_of(add(add(x, x), x));
  }
  // Neither x nor the two sums: all that is left is the graph itself.
  CHECK(allocator_stats().bytes_in_use <= before + (1 << 16));
  backward(sum);
}

TEST_CASE("a variable without its value still takes its gradient") {
  const Variable x = leaf({1, 2});
  const Variable place = x.without_value();
  CHECK_THROWS_WITH(place.data(), ContainsSubstring("without its value"));
  backward(sum_of(relu(x)));
  CHECK(place.grad().to_vector() == std::vector<float>{1, 1});
}

TEST_CASE("an arena holds parameters and gradients in reverse order") {
  const Variable a = leaf({1, 2, 3}), b = leaf({4, 5});
  const ParameterArena arena({a, b});
  REQUIRE(arena.count() == 5);
  CHECK(std::vector<float>(arena.values(), arena.values() + 5) ==
        std::vector<float>{4, 5, 1, 2, 3});
  for (int round = 0; round < 2; ++round) {
    arena.zero_grad();
    backward(sum_of(add(relu(a), a)));
    backward(sum_of(relu(b)));
    CHECK(std::vector<float>(arena.gradients(), arena.gradients() + 5) ==
          std::vector<float>{1, 1, 2, 2, 2});
  }
  arena.values()[2] = 7;
  CHECK(a.data().to_vector() == std::vector<float>{7, 2, 3});
}
