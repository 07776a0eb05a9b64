#include "engine/io/safetensors.h"

#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "kernels/runtime/error.h"
#include "support/catch.h"
#include "support/files.h"

using namespace ringlet;
using ringlet::testing::read_file;
using ringlet::testing::TemporaryFolder;
using ringlet::testing::write_file;

namespace {

// A file with this header and so many bytes of data.
std::string file_of(const std::string& header, std::size_t data_bytes) {
  const std::uint64_t length = header.size();
  std::string bytes(sizeof(length), '\0');
  std::memcpy(bytes.data(), &length, sizeof(length));
  return bytes + header + std::string(data_bytes, 'x');
}

// The message with which reading `bytes` fails; "" where it does not.
std::string error_of(const std::string& bytes) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "broken.safetensors";
  write_file(path, bytes);
  try {
    read_safetensors(path);
    return "";
  } catch (const Error& error) {
    CHECK_THAT(error.what(), StartsWith(path.string() + ": "));
    return error.what();
  }
}

// One F32 tensor "w" with this shape and these offsets.
std::string header_of(const std::string& shape, const std::string& offsets) {
  return R"({"w":{"dtype":"F32","shape":)" + shape + R"(,"data_offsets":)" +
         offsets + "}}";
}

template <typename T>
std::vector<T> values(const Tensor& tensor) {
  return {tensor.data<T>(), tensor.data<T>() + tensor.count()};
}

std::vector<NamedTensor> mixed_tensors() {
  Tensor counter({1}, Dtype::kI64);
  counter.data<std::int64_t>()[0] = std::int64_t{1} << 40;
  Tensor image({3}, Dtype::kU8);
  std::memcpy(image.raw(), "\x00\x7f\xff", 3);
  return {{"image", image},
          {"conv1.weight", Tensor::of({2, 1, 1, 2}, {1, -2.5f, 1e-40f, 0})},
          {"bn1.num_batches_tracked", counter},
          {"fc.bias", Tensor::of({1}, {3})}};
}

}  // namespace

TEST_CASE("safetensors reads what the format's own package wrote") {
  const auto file =
      read_safetensors(std::string(RINGLET_FIXTURES) + "/golden.safetensors");
  CHECK(file.metadata ==
        Metadata{{"made by", "safetensors"}, {"unicode", "äß\n\"quoted\""}});
  REQUIRE(file.tensors.size() == 6);
  const Tensor* weight = file.find("weight");
  REQUIRE(weight != nullptr);
  CHECK(weight->shape() == Shape{2, 3});
  CHECK(values<float>(*weight) ==
        std::vector<float>{1.5f, -2, 3, 0.1f, 1e-30f, 0});
  CHECK(std::signbit(weight->data()[5]));
  CHECK(values<double>(*file.find("large")) ==
        std::vector<double>{1.0 / 3, 1e300});
  CHECK(file.find("scalar")->shape().empty());
  CHECK(values<std::int32_t>(*file.find("scalar")) == std::vector{-7});
  CHECK(file.find("empty")->shape() == Shape{0, 4});
  CHECK(values<std::int64_t>(*file.find("counter")) ==
        std::vector{std::int64_t{1} << 40});
  CHECK(values<std::uint8_t>(*file.find("bytes")) ==
        std::vector<std::uint8_t>{0, 1, 127, 128, 255});
  CHECK(file.find("missing") == nullptr);
}

TEST_CASE("safetensors written and read again are the same") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "model.safetensors";
  const Metadata metadata{{"step", "7"}, {"bad \xff byte", "kept going"}};
  write_safetensors(path, mixed_tensors(), metadata);

  const auto file = read_safetensors(path);
  CHECK(file.metadata.at("step") == "7");
  CHECK(file.metadata.size() == 2);
  // Eight bytes, then four in the order given, then one.
  const std::vector<std::size_t> order{2, 1, 3, 0};
  REQUIRE(file.tensors.size() == order.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    const NamedTensor expected = mixed_tensors()[order[i]];
    const NamedTensor& actual = file.tensors[i];
    CHECK(actual.name == expected.name);
    CHECK(actual.tensor.shape() == expected.tensor.shape());
    REQUIRE(actual.tensor.dtype() == expected.tensor.dtype());
    CHECK(std::memcmp(actual.tensor.raw(), expected.tensor.raw(),
                      expected.tensor.bytes()) == 0);
  }
  CHECK(!std::filesystem::exists(path.string() + ".tmp"));
}

TEST_CASE("safetensors are laid out as the format says") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "model.safetensors";
  write_safetensors(path, {{"w", Tensor::of({2}, {1, 2})}}, {{"k", "v"}});
  std::string header =
      R"({"__metadata__":{"k":"v"},)"
      R"("w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  const std::string expected =
      file_of(header, 0) + std::string("\0\0\x80\x3f\0\0\0\x40", 8);
  CHECK(read_file(path) == expected);
}

TEST_CASE("safetensors of no tensors and a file of another writer's order") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "empty.safetensors";
  write_safetensors(path, {});
  CHECK(read_safetensors(path).tensors.empty());
  // Names in another order than the data, and an empty tensor between.
  write_file(path,
             file_of(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[1,3]},)"
                     R"("b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                     R"("c":{"dtype":"F64","shape":[0],"data_offsets":[1,1]}})",
                     3));
  const auto file = read_safetensors(path);
  REQUIRE(file.tensors.size() == 3);
  CHECK(file.tensors[0].name == "b");
  CHECK(file.tensors[1].name == "c");
  CHECK(file.tensors[2].name == "a");
}

TEST_CASE("safetensors: a broken header is refused") {
  CHECK_THAT(error_of("1234567"),
             ContainsSubstring("7 bytes, expected at least 8"));
  CHECK_THAT(error_of(std::string(8, '\xff')),
             ContainsSubstring(
                 "header length 18446744073709551615, expected at most"));
  CHECK_THAT(error_of(file_of("{}", 0).substr(0, 9)),
             ContainsSubstring("header length 2, expected at most 1"));
  CHECK_THAT(error_of(file_of("{", 0)), ContainsSubstring("not valid JSON"));
  CHECK_THAT(error_of(file_of("{\"a\":1e999}", 0)),
             ContainsSubstring("not valid JSON"));
  CHECK_THAT(error_of(file_of("{\"\xff\":1}", 0)),
             ContainsSubstring("not valid JSON"));
  CHECK_THAT(error_of(file_of("[]", 0)),
             ContainsSubstring("not a JSON object"));
  CHECK_THAT(error_of(file_of(std::string(100000, '['), 0)),
             ContainsSubstring("nests deeper than 3 levels"));
  CHECK_THAT(error_of(file_of(R"({"__metadata__":{"a":1}})", 0)),
             ContainsSubstring("holds 1 for \"a\", expected a string"));
  CHECK_THAT(error_of(file_of(R"({"__metadata__":"a"})", 0)),
             ContainsSubstring("__metadata__ is not an object"));
}

TEST_CASE("safetensors: a header above the format's limit is refused") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "huge.safetensors";
  const std::uint64_t length = 100'000'001;
  std::string prefix(8, '\0');
  std::memcpy(prefix.data(), &length, sizeof(length));
  write_file(path, prefix);
  std::filesystem::resize_file(path, 200'000'000);  // a hole takes no disk
  CHECK_THROWS_WITH(read_safetensors(path),
                    ContainsSubstring("header length 100000001, expected at "
                                      "most 100000000"));
}

TEST_CASE("safetensors: a broken tensor entry is refused by name") {
  const auto error = [](const std::string& shape, const std::string& offsets,
                        std::size_t bytes) {
    return error_of(file_of(header_of(shape, offsets), bytes));
  };
  CHECK(error("[2]", "[0,8]", 8).empty());
  CHECK_THAT(error("[2]", "[0,8]", 7),
             ContainsSubstring(
                 "tensor \"w\": data_offsets are [0, 8], expected to lie "
                 "in the 7 bytes"));
  CHECK_THAT(error("[2]", "[0,8]", 9),
             ContainsSubstring("9 bytes of data, but the tensors end at 8"));
  CHECK_THAT(error("[2]", "[8,0]", 8),
             ContainsSubstring("[8, 0], expected to lie"));
  CHECK_THAT(error("[3]", "[0,8]", 8),
             ContainsSubstring("hold 8 bytes, expected 12 for f32 [3]"));
  CHECK_THAT(error("[2]", "[4,12]", 12),
             ContainsSubstring("data begin at 4, expected "
                               "0: a hole"));
  CHECK_THAT(error("[2]", "[0]", 8),
             ContainsSubstring("expected [begin, end]"));
  CHECK_THAT(error("[2]", "[0,-8]", 8),
             ContainsSubstring("expected [begin, end]"));
  CHECK_THAT(error("[2]", "[0,8.0]", 8),
             ContainsSubstring("expected [begin, end]"));
  CHECK_THAT(error("[2]", "[0,18446744073709551616]", 8),
             ContainsSubstring("expected [begin, end]"));
  CHECK_THAT(error("[-2]", "[0,8]", 8),
             ContainsSubstring("shape is [-2], expected"));
  CHECK_THAT(error("2", "[0,8]", 8), ContainsSubstring("shape is 2, expected"));
  CHECK_THAT(error("[1,1,1,1,1,1,1,1,2]", "[0,8]", 8),
             ContainsSubstring("expected at most 8 sizes"));
}

TEST_CASE("safetensors: products that overflow are refused") {
  // Each wraps to the 8 bytes that the file has, or to none.
  CHECK_THAT(error_of(file_of(header_of("[4611686018427387906]", "[0,8]"), 8)),
             ContainsSubstring("is more than 2^64 bytes"));
  CHECK_THAT(
      error_of(file_of(header_of("[2147483648,2147483648,4]", "[0,0]"), 0)),
      ContainsSubstring("is more than 2^64 bytes"));
  CHECK_THAT(
      error_of(file_of(header_of("[0,9223372036854775808]", "[0,0]"), 0)),
      ContainsSubstring("expected sizes of 0 and more"));
}

TEST_CASE("safetensors: unknown fields, types and repeated names") {
  const std::string w = R"("w":{"dtype":"F32","shape":[1],"data_offsets":)";
  CHECK_THAT(error_of(file_of("{" + w + "[0,4]}," + w + "[4,8]}}", 8)),
             ContainsSubstring("names \"w\" twice"));
  CHECK_THAT(error_of(file_of("{" + w + "[0,4],\"shape\":[1]}}", 4)),
             ContainsSubstring("names \"shape\" twice"));
  CHECK_THAT(error_of(file_of("{" + w + "[0,4],\"more\":1}}", 4)),
             ContainsSubstring("expected dtype, shape and data_offsets"));
  CHECK_THAT(error_of(file_of(R"({"w":5})", 0)),
             ContainsSubstring("tensor \"w\": is 5, expected dtype"));
  CHECK_THAT(
      error_of(file_of(
          R"({"w":{"dtype":"F8","shape":[1],"data_offsets":[0,1]}})", 1)),
      ContainsSubstring("dtype is \"F8\", expected F32, F64, I32, I64 or U8"));
  CHECK_THAT(error_of(file_of("{" + w +
                                  "[0,4]},\"v\":{\"dtype\":\"U8\",\"shape\":[2]"
                                  ",\"data_offsets\":[3,5]}}",
                              5)),
             ContainsSubstring(
                 "tensor \"v\": data begin at 3, expected 4: tensors overlap"));
}

TEST_CASE(
    "safetensors: no cut and no flipped header bit gets past the reader") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "model.safetensors";
  write_safetensors(path, mixed_tensors(), {{"step", "7"}});
  const std::string whole = read_file(path);
  for (std::size_t length = 0; length < whole.size(); ++length) {
    CHECK(!error_of(whole.substr(0, length)).empty());
  }
  const std::size_t data_bytes = 8 + 4 * 4 + 4 + 3;
  for (std::size_t bit = 0; bit < (whole.size() - data_bytes) * 8; ++bit) {
    std::string flipped = whole;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
    CHECK_NOTHROW(error_of(flipped));  // an Error of ours or a good file
  }
}

TEST_CASE("safetensors: a file that is not there, a folder, a bad name") {
  const TemporaryFolder folder;
  CHECK_THROWS_WITH(
      read_safetensors(folder.path() / "none.safetensors"),
      ContainsSubstring("none.safetensors: cannot read: No such"));
  CHECK_THROWS_WITH(read_safetensors(folder.path()),
                    ContainsSubstring("cannot read"));
  const NamedTensor w{"w", Tensor::of({1}, {1})};
  CHECK_THROWS_AS(write_safetensors(folder.path() / "twice", {w, w}), Error);
  CHECK_THROWS_AS(
      write_safetensors(
          folder.path() / "blocked",
          {{"w", Tensor({1, 8, 1, 1}, Dtype::kF32, Layout::kBlocked8)}}),
      Error);
  CHECK(std::filesystem::is_empty(folder.path()));
}
