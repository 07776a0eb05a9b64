#pragma once

#include <cstddef>
#include <functional>
#include <vector>

// Streams and graphs: what a thread enqueues is done at once, or, while the
// thread records, kept.
namespace cudacpu {

using Work = std::vector<std::function<void()>>;

void enqueue(std::function<void()> action);

void begin_recording();
Work end_recording();
bool is_recording();

// Memory of the host that a graph may copy to and from.
void* allocate_pinned(std::size_t bytes);
void free_pinned(void* memory);
bool is_pinned(const void* memory);

}  // namespace cudacpu
