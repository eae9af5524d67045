// CSV as spreadsheets and data sets write it (RFC 4180): quoted cells, CRLF, a byte order mark.
#pragma once

#include <fstream>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "weir/result.h"

namespace weir::explain {

/// Reads a file line by line; never the whole file at once.
class CsvReader {
 public:
  static Result<CsvReader> open(const std::string& path);
  /// The next line that is not blank, or false at the end. Errc::usage for a quote that is never closed.
  Result<bool> next();
  /// Cells of that line; valid until the next one.
  [[nodiscard]] const std::vector<std::string>& cells() const { return cells_; }
  /// Errc::usage, with file and line in front.
  [[nodiscard]] std::unexpected<Error> refuse(const std::string& what) const;
  [[nodiscard]] std::size_t line() const { return line_; }

 private:
  Result<bool> take_line(std::string& text);
  std::string path_;
  std::ifstream file_;
  std::size_t line_ = 0;
  std::vector<std::string> cells_;
  std::string text_;
};

/// A number, or `missing` for an empty cell, NaN, null or None. Nothing for other words.
std::optional<double> parse_cell(std::string_view cell);

}  // namespace weir::explain
