#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <vector>

namespace ringlet {

// Writes `pieces`, one after another, as the whole content of `path`: whoever
// opens the file sees all of it or what was there before, after a crash too.
// The bytes go to `path`.tmp in the same folder, which is fsynced and renamed;
// then the folder is fsynced. Throws an Error that names the path and the
// system's reason, and leaves no .tmp behind.
void write_file_atomically(
    const std::filesystem::path& path,
    const std::vector<std::span<const std::byte>>& pieces);

}  // namespace ringlet
