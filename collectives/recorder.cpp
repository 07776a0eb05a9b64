#include "collectives/recorder.h"

namespace ringlet {

const char* name_of(EventKind kind) {
  switch (kind) {
    case EventKind::kSend:
      return "send";
    case EventKind::kReceive:
      return "receive";
    case EventKind::kReduce:
      return "reduce";
    case EventKind::kCall:
      break;
  }
  return "call";
}

// Filled with zeros, so that recording meets no page for the first time.
Recorder::Recorder(const RecorderOptions& options)
    : options_(options), events_(options.capacity) {}

}  // namespace ringlet
