#include "kernels/runtime/recording.h"

#include <utility>

namespace ringlet {
namespace {

thread_local Recording* t_on = nullptr;

}  // namespace

Recording::Recording(const std::function<void()>& body) {
  cuda::library().begin_graph();
  t_on = this;
  try {
    body();
  } catch (...) {
    t_on = nullptr;
    cuda::library().drop_graph();
    throw;
  }
  t_on = nullptr;
  end_graph();
}

void Recording::launch() const {
  for (const Part& part : parts_) {
    part.graph ? part.graph->launch() : part.action();
  }
}

bool Recording::is_on() { return t_on != nullptr; }

void Recording::add(std::function<void()> action) {
  t_on->end_graph();
  t_on->parts_.push_back({nullptr, std::move(action)});
  cuda::library().begin_graph();
}

void Recording::end_graph() {
  auto graph = cuda::library().end_graph();
  if (graph) parts_.push_back({std::move(graph), nullptr});
}

}  // namespace ringlet
