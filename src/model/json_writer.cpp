#include "model/json_writer.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "model/json.h"

namespace weir::model {

void JsonWriter::value(std::string_view text) {
  const bool plain = std::ranges::all_of(text, [](char c) { return c >= ' ' && c <= '~' && c != '"' && c != '\\'; });
  if (!plain) {
    // Rare enough to be left to who knows all of it.
    text_ += to_text(nlohmann::ordered_json(std::string(text)), -1);
    return;
  }
  text_ += '"';
  text_ += text;
  text_ += '"';
}

}  // namespace weir::model
