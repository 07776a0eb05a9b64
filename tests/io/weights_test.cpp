#include "engine/io/weights.h"

#include "engine/nn/layers.h"
#include "support/catch.h"
#include "support/files.h"

using namespace ringlet;
using namespace ringlet::testing;

namespace {

class Net final : public Module {
 public:
  explicit Net(std::size_t channels) : conv_({3, channels, 3}), bn_(channels) {
    add_module("conv", conv_);
    add_module("bn", bn_);
  }
  Variable forward(const Variable& x) override {
    return bn_.forward(conv_.forward(x));
  }

 private:
  Conv2d conv_;
  BatchNorm2d bn_;
};

std::vector<std::vector<float>> values_of(const Module& model) {
  std::vector<std::vector<float>> values;
  for (const auto& [name, tensor] : model.state()) {
    if (tensor.dtype() == Dtype::kF32) values.push_back(tensor.to_vector());
  }
  return values;
}

}  // namespace

TEST_CASE("weights come back as they were") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "w.safetensors";
  Net first(4), second(4);
  first.initialize(1);
  second.initialize(2);
  REQUIRE(values_of(first) != values_of(second));
  save_weights(path, first, {{"model", "net"}});
  load_weights(path, second);
  CHECK(values_of(first) == values_of(second));
  CHECK(read_safetensors(path).metadata.at("model") == "net");
}

TEST_CASE("weights of another model are refused and change nothing") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "w.safetensors";
  Net model(4);
  model.initialize(1);
  const auto before = values_of(model);

  Net wider(5);
  wider.initialize(2);
  save_weights(path, wider);
  CHECK_THROWS_WITH(load_weights(path, model),
                    ContainsSubstring(path.string()) &&
                        ContainsSubstring("'conv.weight' is f32 [5, 3, 3, 3], "
                                          "expected f32 [4, 3, 3, 3]"));

  std::vector<NamedTensor> tensors;
  for (const auto& [name, tensor] : model.state()) {
    tensors.push_back({name, tensor});
  }
  std::vector<NamedTensor> more = tensors;
  more.push_back({"fc.weight", Tensor::zeros({1})});
  write_safetensors(path, more);
  CHECK_THROWS_WITH(load_weights(path, model),
                    ContainsSubstring("'fc.weight' is unknown to the model"));

  tensors.pop_back();
  write_safetensors(path, tensors);
  CHECK_THROWS_WITH(load_weights(path, model),
                    ContainsSubstring("no tensor 'bn.num_batches_tracked'"));
  CHECK(values_of(model) == before);
}
