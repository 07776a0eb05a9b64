#include "collectives/solo_communicator.h"

#include <cstring>

#include "collectives/ledger.h"

namespace ringlet {
namespace {

class SoloCommunicator final : public Communicator {
 public:
  std::string name() const override { return "solo"; }
  int rank() const override { return 0; }
  int size() const override { return 1; }

  void run(const Collective& call) override {
    check_call(call, 1);
    if (call.input == call.output || call.count == 0) return;
    std::memcpy(call.output, call.input, call.count * size_of(call.dtype));
  }
  Work start(const Collective& call) override {
    run(call);
    return {};
  }

  const Ledger* ledger() const override { return &ledger_; }

 private:
  Ledger ledger_;  // stays empty
};

}  // namespace

std::unique_ptr<Communicator> make_solo_communicator() {
  return std::make_unique<SoloCommunicator>();
}

}  // namespace ringlet
