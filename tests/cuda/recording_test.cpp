#include "kernels/runtime/recording.h"

#include <vector>

#include "engine/tensor/tensor.h"
#include "kernels/runtime/error.h"
#include "support/catch.h"

using namespace ringlet;

TEST_CASE("the host has its part in what is recorded") {
  const std::vector<float> none(4), ones(4, 1);
  const Tensor from = Tensor::of({4}, ones).to(Device::kCuda);
  const Tensor to =
      Tensor::zeros({4}, Dtype::kF32, Layout::kPlain, Device::kCuda);
  const Tensor between = to.clone();
  int calls = 0;
  const Recording recording([&] {
    to.copy_from(from);
    Recording::add([&] { ++calls; });
    // Nothing of the GPU's between these two.
    Recording::add([&] { between.copy_from(to); });
    to.copy_from(to);
  });
  CHECK(calls == 0);
  CHECK((to.to_vector() == none));
  for (int i = 1; i <= 2; ++i) {
    recording.launch();
    CHECK(calls == i);
    CHECK((to.to_vector() == ones));
    CHECK((between.to_vector() == ones));
  }
  CHECK_FALSE(Recording::is_on());
}

TEST_CASE("what cannot be recorded is refused") {
  const Tensor there =
      Tensor::zeros({4}, Dtype::kF32, Layout::kPlain, Device::kCuda);
  CHECK_THROWS_AS(Recording([&] { there.to_host(); }), Error);
  // And recording has ended.
  CHECK((there.to_vector() == std::vector<float>(4)));
}
