#pragma once

#include <memory>
#include <string>
#include <utility>

#include "collectives/host_communicator.h"

namespace ringlet {

// Another back end, as it is: what derives from it changes one thing.
class ForwardingCollectives : public HostCollectives {
 public:
  explicit ForwardingCollectives(std::unique_ptr<HostCollectives> inner)
      : inner_(std::move(inner)) {}

  std::string name() const override { return inner_->name(); }
  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  void run(const Collective& call) override { inner_->run(call); }
  bool takes(Device device) const override { return inner_->takes(device); }
  void finish() override { inner_->finish(); }
  Buffer allocate(std::size_t bytes) override {
    return inner_->allocate(bytes);
  }
  bool cancel() noexcept override { return inner_->cancel(); }
  void set_urgent(bool urgent) override { inner_->set_urgent(urgent); }
  int waiting_for() const override { return inner_->waiting_for(); }
  bool agrees_on_calls() const override { return inner_->agrees_on_calls(); }
  void keep_calls(const std::string& run) override { inner_->keep_calls(run); }
  void set_training_step(std::int64_t step) override {
    inner_->set_training_step(step);
  }
  Ledger* ledger() override { return inner_->ledger(); }
  Recorder* recorder() override { return inner_->recorder(); }
  std::optional<ClockReading> measure_clock() override {
    return inner_->measure_clock();
  }

 protected:
  HostCollectives& inner() const { return *inner_; }

 private:
  std::unique_ptr<HostCollectives> inner_;
};

}  // namespace ringlet
