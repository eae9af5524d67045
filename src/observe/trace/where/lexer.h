// The words and signs of a condition. For parser.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace weir::observe {

struct Token {
  enum class Kind : std::uint8_t { word, quoted, sign, end } kind = Kind::end;
  std::string text;       ///< of a quoted one what is between the quotes, with \" and \\ resolved
  std::size_t begin = 0;  ///< in bytes of the expression
  std::size_t end = 0;
  [[nodiscard]] bool is(std::string_view sign) const { return kind == Kind::sign && text == sign; }
  [[nodiscard]] bool is_word(std::string_view word) const { return kind == Kind::word && text == word; }
};

/// The last one is Kind::end. `and`, `or` and `not` stay words: they may be values, too.
Result<std::vector<Token>> tokenize(std::string_view expression);

/// Errc::usage: `what`, with the place in the message and drawn below the expression in the hint, and `advice` after
/// it.
[[nodiscard]] std::unexpected<Error> mistake(std::string_view expression, std::size_t begin, std::size_t end,
                                             const std::string& what, const std::string& advice = {});

}  // namespace weir::observe
