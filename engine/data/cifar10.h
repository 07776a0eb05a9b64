#pragma once

#include <cstddef>
#include <filesystem>
#include <string>

#include "engine/data/image_set.h"

namespace ringlet {

// Reads CIFAR-10 in its binary version from `folder`: data_batch_1.bin to
// data_batch_5.bin (50,000 training pictures) and test_batch.bin (10,000).
// Holds 184 MB. Throws an Error that names the file where one is missing or
// unreadable, is not exactly 10,000 records long, or has a label above 9.
Dataset read_cifar10(const std::filesystem::path& folder);

// The test pictures alone: other files are not needed.
ImageSet read_cifar10_test(const std::filesystem::path& folder);

// CIFAR-10's classes, mean and deviation, and no picture.
ImageSet empty_cifar10(std::string name);

// Appends the pictures of one such file to `set`. A record is one byte of
// label and 3,072 of pixels: the red plane, the green and the blue, row-major.
void append_cifar10_file(const std::filesystem::path& path,
                         std::size_t record_count, ImageSet& set);

}  // namespace ringlet
