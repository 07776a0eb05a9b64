#include "engine/metrics/jsonl.h"

#include <nlohmann/json.hpp>

namespace ringlet {

JsonLines::JsonLines(const std::filesystem::path& path) : file_(path) {}

void JsonLines::write(const nlohmann::ordered_json& object) {
  file_.write(object.dump(-1, ' ', false,
                          nlohmann::ordered_json::error_handler_t::replace) +
              "\n");
}

}  // namespace ringlet
