#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "collectives/communicator.h"
#include "collectives/gpu/gpu_order.h"
#include "collectives/progress_thread.h"
#include "collectives/transport.h"
#include "collectives/unwinding.h"

namespace ringlet {

// What a back end for data in host memory implements: collectives that return
// when they are done. Called by one thread at a time, but for cancel() and
// set_urgent(), which any thread may call.
class HostCollectives {
 public:
  virtual ~HostCollectives() = default;

  virtual std::string name() const = 0;
  virtual int rank() const = 0;
  virtual int size() const = 0;

  // As the Communicator's.
  virtual bool takes(Device device) const { return device == Device::kCpu; }
  // A call that check_call has let pass; on kCuda, what the calling thread has
  // to enqueue for it.
  virtual void run(const Collective& call) = 0;
  // No call follows; collective. Not called where an exception unwinds.
  virtual void finish() {}

  // As the Communicator's: huge pages, which other processes read faster.
  virtual Buffer allocate(std::size_t bytes) {
    return Buffer::allocate(bytes, Pages::kHuge);
  }

  // Makes the call that is under way throw; false if that cannot be done.
  virtual bool cancel() noexcept = 0;
  // As Transport::set_urgent.
  virtual void set_urgent(bool) {}
  // As Transport::waiting_for.
  virtual int waiting_for() const { return kNobody; }

  // Whether run() itself makes sure that all ranks have come to the same call.
  virtual bool agrees_on_calls() const { return false; }
  // As the Communicator's.
  virtual void keep_calls(const std::string&) {}
  virtual void set_training_step(std::int64_t) {}

  // As the Communicator's; nullptr, or nothing, where messages are not ours.
  virtual Ledger* ledger() { return nullptr; }
  virtual Recorder* recorder() { return nullptr; }
  virtual std::optional<ClockReading> measure_clock() { return std::nullopt; }
};

// Adds asynchronous calls to a back end, with one progress thread, and the
// recorder's first reading of the clock. A blocking
// call with nothing in flight runs on the caller's thread.
//
// Destroyed in good order, it finishes what is in flight. Destroyed while an
// exception unwinds, it cancels that, because the other ranks may never do
// their part; what cannot be cancelled is left running, and the program is
// expected to end.
class HostCommunicator final : public Communicator {
 public:
  explicit HostCommunicator(std::unique_ptr<HostCollectives> collectives);
  ~HostCommunicator() override;

  std::string name() const override { return collectives_->name(); }
  int rank() const override { return collectives_->rank(); }
  int size() const override { return collectives_->size(); }

  bool takes(Device device) const override {
    return collectives_->takes(device);
  }
  void run(const Collective& call) override;
  Work start(const Collective& call) override;

  Buffer allocate(std::size_t bytes) override;

  void keep_calls(const std::string& run) override;
  void set_training_step(std::int64_t step) override;

  const Ledger* ledger() const override { return collectives_->ledger(); }
  void clear_ledger() override;
  Recorder* recorder() const override { return collectives_->recorder(); }
  std::optional<ClockReading> measure_clock() override;

 private:
  void check(const Collective& call) const;
  std::shared_ptr<GpuOrder> order_on_gpu();
  void finish() noexcept;

  std::vector<Buffer> allocated_;  // outlive what is in flight
  std::unique_ptr<HostCollectives> collectives_;
  std::shared_ptr<GpuOrder> gpu_;  // null until there is a call on one
  ProgressThread progress_;
  Unwinding unwinding_;
};

}  // namespace ringlet
