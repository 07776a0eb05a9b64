#include "models/resnet.h"

#include <map>
#include <set>

#include "support/catch.h"
#include "support/reference.h"

using namespace ringlet;
using namespace ringlet::testing;

namespace {

std::size_t parameter_count(const Module& model) {
  std::size_t count = 0;
  for (const Variable& p : model.parameters()) count += p.data().count();
  return count;
}

}  // namespace

TEST_CASE("parameter counts are those of the papers and of torchvision") {
  const auto cifar = make_resnet("resnet50", {.classes = 10});
  CHECK(parameter_count(*cifar) == 23'520'842);
  CHECK(cifar->parameters().size() == 161);
  CHECK(cifar->state().size() == 320);
  const auto count = [](const std::string& name) {
    return parameter_count(
        *make_resnet(name, {.classes = 1000, .stem = Stem::kImageNet}));
  };
  CHECK(count("resnet18") == 11'689'512);
  CHECK(count("resnet34") == 21'797'672);
  CHECK(count("resnet50") == 25'557'032);
  CHECK(count("resnet101") == 44'549'160);
  CHECK(count("resnet152") == 60'192'808);
  // 0.27 M in the paper, plus the two projections (512 + 2048 weights and
  // their batch norms).
  CHECK(parameter_count(*make_resnet("resnet20", {})) == 272'474);
  CHECK(parameter_count(*make_resnet("resnet56", {})) == 855'770);
}

TEST_CASE("names are torchvision's, in the order of its state_dict") {
  const auto model = make_resnet("resnet50", {});
  const auto state = model->state();
  CHECK(state[0].first == "conv1.weight");
  CHECK(state[1].first == "bn1.weight");
  CHECK(state[5].first == "bn1.num_batches_tracked");
  CHECK(state[6].first == "layer1.0.conv1.weight");
  CHECK(state[24].first == "layer1.0.downsample.0.weight");
  CHECK(state[25].first == "layer1.0.downsample.1.weight");
  CHECK(state[319].first == "fc.bias");
  std::set<std::string> names;
  for (const auto& [name, tensor] : state) names.insert(name);
  CHECK(names.size() == 320);
  CHECK(names.count("layer4.2.bn3.running_var") == 1);
}

TEST_CASE("forward gives logits, backward gives every parameter a gradient") {
  const auto [name, stem, size] =
      GENERATE(table<const char*, Stem, std::size_t>(
          {{"resnet20", Stem::kCifar, 8},
           {"resnet18", Stem::kCifar, 8},
           {"resnet50", Stem::kCifar, 8},
           {"resnet18", Stem::kImageNet, 64}}));
  CAPTURE(name, size);
  const auto model = make_resnet(name, {.classes = 7, .stem = stem});
  model->initialize(1);
  const Variable x(to_tensor(random_array({2, 3, size, size}, 1)));
  Tensor labels = Tensor::zeros({2}, Dtype::kI32);
  const Variable logits = model->forward(x);
  CHECK(logits.data().shape() == Shape{2, 7});
  backward(cross_entropy(logits, labels).loss);
  for (const Variable& parameter : model->parameters()) {
    CAPTURE(parameter.name());
    double size_of_gradient = 0;
    for (const float g : parameter.grad().to_vector()) {
      size_of_gradient += static_cast<double>(g) * static_cast<double>(g);
    }
    CHECK(std::isfinite(size_of_gradient));
    CHECK(size_of_gradient > 0);
  }
}

TEST_CASE("initialisation is torchvision's and a function of the seed") {
  const auto model = make_resnet("resnet18", {});
  model->initialize(5);
  std::map<std::string, std::vector<float>> values;
  for (const auto& [name, tensor] : model->state()) {
    if (tensor.dtype() == Dtype::kF32) values[name] = tensor.to_vector();
  }
  const auto& conv = values.at("layer4.1.conv2.weight");
  double squares = 0, sum = 0;
  for (const float v : conv) {
    sum += static_cast<double>(v);
    squares += static_cast<double>(v) * static_cast<double>(v);
  }
  const auto count = static_cast<double>(conv.size());
  CHECK(std::sqrt(squares / count) ==
        Approx(std::sqrt(2.0 / (512 * 9))).epsilon(0.01));
  CHECK(std::abs(sum / count) < 1e-4);
  CHECK(values.at("bn1.weight") == std::vector<float>(64, 1.0f));
  CHECK(values.at("bn1.running_var") == std::vector<float>(64, 1.0f));
  const auto& fc = values.at("fc.weight");
  const float bound = 1 / std::sqrt(512.0f);
  CHECK(*std::max_element(fc.begin(), fc.end()) == Approx(bound).epsilon(0.01));
  CHECK(*std::min_element(fc.begin(), fc.end()) ==
        Approx(-bound).epsilon(0.01));

  model->initialize(5);
  CHECK(model->state()[0].second.to_vector() == values.at("conv1.weight"));
  model->initialize(6);
  CHECK(model->state()[0].second.to_vector() != values.at("conv1.weight"));
}

TEST_CASE("zero_init_residual makes blocks start as the identity") {
  const auto model = make_resnet("resnet50", {.zero_init_residual = true});
  model->initialize(1);
  for (const auto& [name, tensor] : model->state()) {
    if (name == "layer2.1.bn3.weight") {
      CHECK(tensor.to_vector() == std::vector<float>(512, 0.0f));
    }
    if (name == "layer2.1.bn2.weight") {
      CHECK(tensor.to_vector() == std::vector<float>(128, 1.0f));
    }
  }
}

TEST_CASE("a wrong model is refused with what there is") {
  CHECK_THROWS_WITH(make_resnet("resnet51", {}),
                    ContainsSubstring("unknown model 'resnet51'") &&
                        ContainsSubstring("resnet50"));
  CHECK_THROWS_WITH(make_resnet("resnet20", {.stem = Stem::kImageNet}),
                    ContainsSubstring("--stem cifar"));
}

namespace {

std::map<std::string, Shape> shapes_of(const Module& model) {
  std::map<std::string, Shape> shapes;
  for (const auto& [name, tensor] : model.state()) {
    shapes[name] = tensor.shape();
  }
  return shapes;
}

ResNetKind recognize(const std::map<std::string, Shape>& shapes) {
  return recognize_resnet([&](const std::string& name) {
    const auto found = shapes.find(name);
    return found == shapes.end() ? nullptr : &found->second;
  });
}

}  // namespace

TEST_CASE("a network is recognized by its tensors") {
  for (const std::string& name : resnet_names()) {
    CAPTURE(name);
    const ResNetKind kind =
        recognize(shapes_of(*make_resnet(name, {.classes = 7})));
    CHECK(kind.name == name);
    CHECK(kind.options.classes == 7);
    CHECK(kind.options.stem == Stem::kCifar);
  }
  const ResNetKind kind = recognize(shapes_of(
      *make_resnet("resnet18", {.classes = 1000, .stem = Stem::kImageNet})));
  CHECK(kind.name == "resnet18");
  CHECK(kind.options.classes == 1000);
  CHECK(kind.options.stem == Stem::kImageNet);
}

TEST_CASE("tensors of no known network are refused with what they are") {
  const auto shapes = shapes_of(*make_resnet("resnet50", {}));
  const auto without = [&](const std::string& name) {
    auto fewer = shapes;
    fewer.erase(name);
    return fewer;
  };
  CHECK_THROWS_WITH(recognize(without("conv1.weight")),
                    "no tensor 'conv1.weight'");
  CHECK_THROWS_WITH(recognize(without("layer3.1.conv1.weight")),
                    StartsWith("3+4+1+3 blocks of 3 convolutions, 64 channels "
                               "and 2048 features: expected one of resnet18"));
  CHECK_THROWS_WITH(recognize(without("layer1.0.conv1.weight")),
                    StartsWith(" blocks of 3 convolutions"));
  // As large as the header likes, with nothing behind it.
  auto changed = shapes;
  changed["fc.weight"] = {1'000'000'000'000, 0};
  CHECK_THROWS_WITH(recognize(changed), ContainsSubstring("and 0 features"));
  changed["fc.weight"] = {10};
  CHECK_THROWS_WITH(recognize(changed),
                    "tensor 'fc.weight' is [10], expected 2 sizes");
}

TEST_CASE("weights may differ by their task alone") {
  CHECK(differs_by_task("fc.weight", {1000, 512}, {10, 512}));
  CHECK(differs_by_task("fc.bias", {1000}, {10}));
  CHECK(differs_by_task("conv1.weight", {64, 3, 7, 7}, {64, 3, 3, 3}));
  CHECK_FALSE(differs_by_task("fc.weight", {10, 512}, {10, 2048}));
  CHECK_FALSE(differs_by_task("fc.weight", {512}, {10, 512}));
  CHECK_FALSE(differs_by_task("conv1.weight", {64, 3, 7, 7}, {16, 3, 3, 3}));
  CHECK_FALSE(
      differs_by_task("layer1.0.conv1.weight", {64, 64, 1, 1}, {64, 64, 3, 3}));
}
