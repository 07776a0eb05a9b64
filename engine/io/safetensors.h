#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "engine/io/durable_files.h"
#include "engine/tensor/tensor.h"

namespace ringlet {

// Reading and writing of safetensors files, the format in which weights travel
// between programs:
//
//   u64 little endian   length of the header in bytes
//   header              JSON {"name": {"dtype": "F32", "shape": [64, 3, 3, 3],
//                       "data_offsets": [begin, end]}, ...,
//                       "__metadata__": {"key": "string", ...}},
//                       padded with spaces to a multiple of 8
//   data                row-major, little endian, without holes; the offsets
//                       count from its start
//
// Element types: F32, F64, I32, I64 and U8.

struct NamedTensor {
  std::string name;
  Tensor tensor;
};

using Metadata = std::map<std::string, std::string>;

struct SafetensorsFile {
  Metadata metadata;
  std::vector<NamedTensor> tensors;  // as their data lie in the file

  // Null when there is no such tensor. Cost: one pass over the names.
  const Tensor* find(const std::string& name) const;
};

// Trusts nothing in the file: lengths, shapes and offsets are checked against
// each other and the file's size before memory is taken for them, and a broken
// file is an Error that names it, the tensor, the value and what was expected.
SafetensorsFile read_safetensors(const std::filesystem::path& path);

// A file of plain-layout tensors as it will be written. The data lie in the
// order of the list, but types of 8 bytes first and bytes last: every tensor
// then starts at a multiple of its element size, which readers that map the
// file ask for. Names must differ and be none of the format's own.
class SafetensorsImage {
 public:
  SafetensorsImage(std::vector<NamedTensor> tensors, const Metadata& metadata);

  // In the order of their data.
  const std::vector<NamedTensor>& tensors() const { return tensors_; }
  // The file's bytes: the head, then one piece per tensor. They point into
  // this object and the tensors.
  FilePieces pieces() const;

 private:
  std::vector<NamedTensor> tensors_;
  std::string head_;
};

// Writes an image, all or nothing (see write_file_atomically).
void write_safetensors(const std::filesystem::path& path,
                       std::vector<NamedTensor> tensors,
                       const Metadata& metadata = {});

}  // namespace ringlet
