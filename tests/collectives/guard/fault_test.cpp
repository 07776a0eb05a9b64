#include "collectives/guard/fault.h"

#include <string>

#include "kernels/runtime/error.h"
#include "support/catch.h"

namespace ringlet {
namespace {

TEST_CASE("a fault is read from its text") {
  Fault fault = parse_fault("rank=2,op=all_reduce#37,kind=stop");
  CHECK((fault.rank == 2 && fault.number == 37));
  CHECK(fault.op == CollectiveKind::kAllReduce);
  CHECK((fault.kind == FaultKind::kStop && !fault.message));
  fault = parse_fault("kind=delay:2.5,op=call#3,rank=0,message=4");
  CHECK((fault.rank == 0 && fault.number == 3 && !fault.op));
  CHECK((fault.kind == FaultKind::kDelay && fault.seconds == 2.5));
  CHECK(fault.message == 4);
  fault = parse_fault("rank=1,kind=kill");
  CHECK((fault.number == 1 && !fault.op));
}

TEST_CASE("what is no fault is refused with what was expected") {
  const std::pair<const char*, const char*> texts[] = {
      {"", "fault: '', expected rank=R,op=OP#N,kind=KIND"},
      {"rank=1", "fault: 'rank=1', expected rank=R,op=OP#N,kind=KIND"},
      {"kind=stop", "fault: 'kind=stop', expected rank=R,op=OP#N,kind=KIND"},
      {"rank=-1,kind=stop", "fault: '-1', expected rank=R"},
      {"rank=1,kind=explode", "fault: 'explode', expected rank=R"},
      {"rank=1,kind=stop:3", "fault: 'stop:3', expected kind=stop"},
      {"rank=1,kind=delay", "fault: '', expected kind=delay:SECONDS"},
      {"rank=1,kind=delay:nan", "fault: 'nan', expected kind=delay:SECONDS"},
      {"rank=1,op=sum#1,kind=stop", "fault: 'sum', expected op=all_reduce#N"},
      {"rank=1,op=call#0,kind=stop", "fault: '0', expected a number from 1"},
      {"rank=1,kind=stop,message=1",
       "fault: 'rank=1,kind=stop,message=1', expected message= with delay"},
      {"rank=1,kind=stop,when=now", "fault: 'when=now', expected rank=R"},
  };
  for (const auto& [text, message] : texts) {
    CHECK_THROWS_WITH(parse_fault(text), StartsWith(message));
  }
}

}  // namespace
}  // namespace ringlet
