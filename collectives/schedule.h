#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace ringlet {

// Elements [begin, begin + count) of the caller's array.
struct Range {
  std::size_t begin = 0;
  std::size_t count = 0;

  std::size_t end() const { return begin + count; }
  bool operator==(const Range&) const = default;
};

// Part `index` of `whole` cut into `parts` pieces whose sizes differ by at most
// one; remainders go to the first pieces. Pieces may be empty.
Range share(Range whole, std::size_t parts, std::size_t index);

// What a phase does with the data, as far as people are told.
enum class Phase {
  kReduceScatter,
  kAllGather,
  kReduce,
  kBroadcast,
  kExchange,
  kBarrier
};
inline constexpr std::size_t kPhases = 6;

// "reduce-scatter", ...
const char* name_of(Phase phase);

// What becomes of the elements that arrive: they are combined with those that
// are there, as the second operand or as the first, or take their place. (A
// float's minimum or sum can depend on the order in its last bits: where two
// ranks combine the same two operands, they must do it in the same order.)
enum class Arrival { kSecondOperand, kFirstOperand, kReplaces };

// One way of an exchange. An empty range is no message: the peer has none
// either.
struct Message {
  int peer = 0;
  std::size_t chunk = 0;  // which of the pieces, where an algorithm has some
  Range range;
};

// What one rank does with one slice in one step: it sends one message while it
// receives another.
struct Exchange {
  Phase phase;
  std::size_t step;   // the same on all ranks that take part in it
  std::size_t slice;  // 0 .. slices-1
  Message send;
  Message receive;
  Arrival arrival;
};

// The plan of a collective as one rank sees it: a pure function of a few
// numbers that talks to nobody, so it can be printed, and proved right, without
// a network. It reads like a constant array of size() exchanges, in the order
// in which they are carried out. Nothing is stored; a look-up costs a few
// integer divisions.
//
// Slices keep out of each other's way: an exchange needs what earlier ones of
// *its* slice have brought, and nothing of the slices in between. So the next
// slices() exchanges may be under way together (run_schedule.h).
class Schedule {
 public:
  // `rank` of `ranks` works on `count` elements; a slice has at most
  // `slice_elements` (> 0) of them.
  Schedule(int rank, int ranks, std::size_t count, std::size_t slice_elements);
  virtual ~Schedule() = default;

  virtual const char* name() const = 0;
  virtual std::size_t size() const = 0;
  virtual Exchange operator[](std::size_t index) const = 0;

  int rank() const { return rank_; }
  int ranks() const { return ranks_; }
  std::size_t count() const { return count_; }
  // Into how many slices a message is cut; 0 where there are no elements.
  std::size_t slices() const { return slices_; }

 protected:
  // Cuts messages of at most `longest` elements.
  void cut(std::size_t longest);

 private:
  int rank_;
  int ranks_;
  std::size_t count_;
  std::size_t slice_elements_;
  std::size_t slices_ = 0;
};

// One line for the rank and one for each exchange, for people.
std::string to_string(const Schedule& schedule);

// The schedules of an all-reduce: "ring", "naive", "tree",
// "recursive_doubling", "ordered". run_schedule carries out any; the order of
// adding that the last one exists for is ordered_all_reduce's.
const std::vector<std::string>& schedule_names();
std::unique_ptr<Schedule> make_schedule(const std::string& name, int rank,
                                        int ranks, std::size_t count,
                                        std::size_t slice_elements);

}  // namespace ringlet
