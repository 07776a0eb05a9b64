#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <vector>

namespace ringlet {

// Changes to the file system that are on the disk once the call returns. All
// throw an Error that names the path and the system's reason.

using FilePieces = std::vector<std::span<const std::byte>>;

// Writes `pieces`, one after another, to a file that must not exist yet, and
// fsyncs it. A file that cannot be written to its end is removed.
void write_new_file(const std::filesystem::path& path,
                    const FilePieces& pieces);

// Writes `pieces` as the whole content of `path`: whoever opens the file sees
// all of it or what was there before, after a crash too. The bytes go to
// `path`.tmp in the same folder, which is renamed; then the folder is fsynced.
// Leaves no .tmp behind.
void write_file_atomically(const std::filesystem::path& path,
                           const FilePieces& pieces);

// Makes a folder whose parent is there; an existing one is an error.
void make_folder(const std::filesystem::path& path);

// Renames a folder; where `to` is a folder already, the two swap their names
// in one instant (Linux's RENAME_EXCHANGE). Then fsyncs the parent of both.
void replace_folder(const std::filesystem::path& from,
                    const std::filesystem::path& to);

// Makes what others wrote to a file durable.
void sync_file(const std::filesystem::path& path);

// Makes a folder's entries as durable as its files.
void sync_folder(const std::filesystem::path& path);

// Removes a folder and what is in it; nothing there is no error.
void remove_folder(const std::filesystem::path& path);

// Called before each change to the file system, with "create", "write",
// "fsync", "close", "rename", "mkdir" or "remove" and the path. Tests throw
// there, or end the process, to see what a full disk or a crash leaves behind.
using FileHook = void (*)(const char* change,
                          const std::filesystem::path& path);
void set_file_hook(FileHook hook);

}  // namespace ringlet
