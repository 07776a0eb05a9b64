// How hard the built-in pictures are: a linear model on their pixels must stay
// under 60 % (20 epochs of 20,000 pictures), ResNet-20 must pass 95 % (10
// epochs). Prints the accuracy on held-out pictures after each epoch, and exits
// with 1 where a bound is missed. A few minutes on two cores.

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "collectives/solo_communicator.h"
#include "engine/data/synthetic.h"
#include "engine/train/trainer.h"
#include "models/resnet.h"

namespace {

using namespace ringlet;

constexpr double kLinearBelow = 0.60, kResNetAbove = 0.95;

// Ten scores, each a weighted sum of all pixels.
class SoftmaxRegression final : public Module {
 public:
  SoftmaxRegression(std::size_t pixels, std::size_t classes)
      : pixels_(static_cast<std::int64_t>(pixels)), fc_(pixels, classes) {
    add_module("fc", fc_);
  }
  Variable forward(const Variable& x) override {
    return fc_.forward(Variable(x.data().reshaped({x.data().dim(0), pixels_})));
  }

 private:
  std::int64_t pixels_;
  Linear fc_;
};

// The best accuracy of any epoch, so that the bound on the linear model is
// kept all the way, and the last.
struct Accuracy {
  double best = 0, last = 0;
};

Accuracy train(const char* name, Module& model, const Dataset& data,
               const TrainOptions& options) {
  const auto communicator = make_solo_communicator();
  model.initialize(options.seed);
  Trainer trainer(options, make_plan(options, data.train.count(), 1), model,
                  data, *communicator);
  Accuracy accuracy;
  TrainObserver observer;
  observer.epoch = [&](const EpochResult& result) {
    accuracy.last = result.validation->accuracy;
    accuracy.best = std::max(accuracy.best, accuracy.last);
    fmt::print("{}, epoch {:2}: {:.1f} % of {} held-out pictures\n", name,
               result.epoch, 100 * accuracy.last, result.validation->pictures);
    std::fflush(stdout);
  };
  trainer.run(observer);
  return accuracy;
}

Accuracy train_linear(const Dataset& data) {
  TrainOptions options;
  options.epochs = 20;
  options.batch_size = 64;
  options.lr = 1e-3;  // 1e-2 ends as high, 1e-4 lower
  options.schedule = "constant";
  options.momentum = 0;
  options.weight_decay = 0;
  options.augment = false;
  SoftmaxRegression model(data.train.image_bytes(), data.train.classes.size());
  return train("softmax regression", model, data, options);
}

Accuracy train_resnet(const Dataset& data) {
  TrainOptions options;
  options.epochs = 10;
  options.batch_size = 64;
  options.lr = 0.1;
  options.schedule = "onecycle";
  const auto model =
      make_resnet("resnet20", {.classes = data.train.classes.size()});
  return train("ResNet-20", *model, data, options);
}

bool report(const char* what, double accuracy, bool kept) {
  fmt::print("{}: {:.1f} %, {}\n", what, 100 * accuracy,
             kept ? "as it should be" : "NOT as it should be");
  return kept;
}

}  // namespace

int main() {
  const Dataset data = make_synthetic();
  const double linear = train_linear(data).best;
  const double resnet = train_resnet(data).last;
  const bool low = report("softmax regression stays under 60 %", linear,
                          linear < kLinearBelow);
  const bool high =
      report("ResNet-20 passes 95 %", resnet, resnet > kResNetAbove);
  return low && high ? 0 : 1;
}
