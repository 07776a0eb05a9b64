#include "collectives/solo_communicator.h"

#include "kernels/runtime/check.h"

namespace ringlet {
namespace {

class SoloCommunicator final : public Communicator {
 public:
  std::string name() const override { return "solo"; }
  int rank() const override { return 0; }
  int size() const override { return 1; }

  void all_reduce(void*, std::size_t, Dtype, ReduceOp) override {}
  Work all_reduce_async(void*, std::size_t, Dtype, ReduceOp) override {
    return {};
  }
  void broadcast(void*, std::size_t, int root) override {
    RINGLET_CHECK(root == 0, "root {} of 1 ranks", root);
  }
  void barrier() override {}
};

}  // namespace

std::unique_ptr<Communicator> make_solo_communicator() {
  return std::make_unique<SoloCommunicator>();
}

}  // namespace ringlet
