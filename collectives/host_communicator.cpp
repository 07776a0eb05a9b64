#include "collectives/host_communicator.h"

#include <utility>

namespace ringlet {

HostCommunicator::HostCommunicator(std::unique_ptr<HostCollectives> collectives)
    : collectives_(std::move(collectives)),
      progress_([back_end = collectives_.get()](bool urgent) {
        back_end->set_urgent(urgent);
      }) {}

HostCommunicator::~HostCommunicator() {
  if (unwinding_ && !collectives_->cancel()) {
    progress_.abandon();
    collectives_.release();  // lives on: the abandoned thread uses it
  }
}

void HostCommunicator::run(const Collective& call) {
  check_call(call, size());
  progress_.run([&] { collectives_->run(call); });
}

Work HostCommunicator::start(const Collective& call) {
  check_call(call, size());
  return progress_.submit(
      [call, back_end = collectives_.get()] { back_end->run(call); });
}

}  // namespace ringlet
