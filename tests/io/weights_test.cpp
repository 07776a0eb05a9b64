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

  tensors.erase(tensors.begin());
  write_safetensors(path, tensors);
  CHECK_THROWS_WITH(load_weights(path, model),
                    ContainsSubstring("no tensor 'conv.weight'"));
  CHECK(values_of(model) == before);
}

TEST_CASE("a counter that old weights lack stays as it was") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "w.safetensors";
  Net first(4), second(4);
  first.initialize(1);
  second.initialize(2);
  std::vector<NamedTensor> tensors = named_tensors(first.state());
  REQUIRE(tensors.back().name == "bn.num_batches_tracked");
  tensors.pop_back();
  write_safetensors(path, tensors);
  const Tensor counter = second.state().back().second;
  counter.data<std::int64_t>()[0] = 7;
  CHECK(load_weights(path, second).empty());
  CHECK(values_of(first) == values_of(second));
  CHECK(counter.data<std::int64_t>()[0] == 7);
}

TEST_CASE("a tensor of a shape that may differ stays as it was, and is named") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "w.safetensors";
  Net one(4), other(4);
  one.initialize(1);
  other.initialize(2);
  one.state()[1].second.data<float>()[0] = 3;
  std::vector<NamedTensor> tensors = named_tensors(one.state());
  REQUIRE(tensors[0].name == "conv.weight");
  tensors[0].tensor = Tensor::zeros({4, 3, 7, 7});
  write_safetensors(path, tensors);
  std::vector<std::string> asked;
  const auto may_differ = [&](const std::string& name, const Shape& in_file,
                              const Shape& in_model) {
    asked.push_back(name + to_string(in_file) + to_string(in_model));
    return true;
  };
  const auto convolution = values_of(other)[0];
  CHECK(load_weights(path, other, may_differ) ==
        std::vector<std::string>{"conv.weight"});
  CHECK(asked ==
        std::vector<std::string>{"conv.weight[4, 3, 7, 7][4, 3, 3, 3]"});
  CHECK(values_of(other)[0] == convolution);
  CHECK(values_of(other)[1] == std::vector<float>{3, 1, 1, 1});

  tensors[0].tensor = Tensor::zeros({4, 3, 3, 3}, Dtype::kI32);
  write_safetensors(path, tensors);
  CHECK_THROWS_WITH(load_weights(path, other, may_differ),
                    ContainsSubstring("'conv.weight' is i32 [4, 3, 3, 3], "
                                      "expected f32 [4, 3, 3, 3]"));
}
