#include <array>
#include <string>
#include <vector>

#include "base/text.h"
#include "weir/explain.h"

namespace weir::explain {

namespace {

constexpr std::array<std::string_view, 8> engine_names{"combined", "mass",        "murphy",    "murphy-sampled",
                                                       "max-z",    "correlation", "traversal", "random-walk"};

}  // namespace

std::string_view to_string(Engine engine) {
  return engine_names.at(static_cast<std::size_t>(engine));
}

std::vector<Engine> all_engines() {
  std::vector<Engine> engines;
  for (std::size_t i = 0; i < engine_names.size(); ++i) engines.push_back(static_cast<Engine>(i));
  return engines;
}

Result<Engine> parse_engine(std::string_view word) {
  for (std::size_t i = 0; i < engine_names.size(); ++i) {
    if (engine_names.at(i) == word) return static_cast<Engine>(i);
  }
  return fail(Errc::usage, "no engine '" + printable(word) + "'",
              suggest(word, std::vector<std::string>(engine_names.begin(), engine_names.end())));
}

}  // namespace weir::explain
