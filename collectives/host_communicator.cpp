#include "collectives/host_communicator.h"

#include <utility>

#include "collectives/ledger.h"
#include "collectives/recorder.h"

namespace ringlet {

HostCommunicator::HostCommunicator(std::unique_ptr<HostCollectives> collectives)
    : collectives_(std::move(collectives)),
      progress_([back_end = collectives_.get()](bool urgent) {
        back_end->set_urgent(urgent);
      }) {
  if (Recorder* recorder = collectives_->recorder()) {
    recorder->add(*collectives_->measure_clock());
  }
}

HostCommunicator::~HostCommunicator() {
  if (unwinding_ && !collectives_->cancel()) {
    // What the abandoned thread uses lives on.
    static auto* kept = new std::vector<Buffer>;
    kept->insert(kept->end(), allocated_.begin(), allocated_.end());
    progress_.abandon();
    collectives_.release();
  }
}

Buffer HostCommunicator::allocate(std::size_t bytes) {
  progress_.run([&] { allocated_.push_back(collectives_->allocate(bytes)); });
  return allocated_.back();
}

void HostCommunicator::run(const Collective& call) {
  check_call(call, size());
  progress_.run([&] { collectives_->run(call); });
}

Work HostCommunicator::start(const Collective& call) {
  check_call(call, size());
  Collective started = call;
  started.overlapped = true;
  return progress_.submit(
      [started, back_end = collectives_.get()] { back_end->run(started); });
}

void HostCommunicator::clear_ledger() {
  if (Ledger* ledger = collectives_->ledger()) ledger->clear();
}

std::optional<ClockReading> HostCommunicator::measure_clock() {
  std::optional<ClockReading> reading;
  progress_.run([&] { reading = collectives_->measure_clock(); });
  return reading;
}

}  // namespace ringlet
