#include "reason/explain/csv.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <limits>
#include <optional>

#include "base/result.h"
#include "base/text.h"

namespace weir::explain {

namespace {

/// Splits into `cells`, whose strings are used again. False while a quote is open.
bool split_cells(std::string_view text, std::vector<std::string>& cells) {
  std::size_t count = 0;
  const auto next_cell = [&]() -> std::string& {
    if (count == cells.size()) cells.emplace_back();
    cells[count].clear();
    return cells[count++];
  };
  std::string* cell = &next_cell();
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c != '"') {
        *cell += c;
      } else if (i + 1 < text.size() && text[i + 1] == '"') {
        *cell += '"';
        ++i;
      } else {
        quoted = false;
      }
    } else if (c == ',') {
      cell = &next_cell();
    } else if (c == '"' && cell->empty()) {
      quoted = true;
    } else {
      *cell += c;
    }
  }
  cells.resize(count);
  return !quoted;
}

}  // namespace

Result<CsvReader> CsvReader::open(const std::string& path) {
  CsvReader reader;
  reader.path_ = path;
  reader.file_.open(path, std::ios::binary);
  if (!reader.file_) return std::unexpected(errno_error(errno, path));
  // A folder opens like a file, and fails at the first byte.
  if (reader.file_.peek() == std::ifstream::traits_type::eof() && !reader.file_.eof()) {
    return fail(Errc::usage, path + ": cannot be read", "is it a folder?");
  }
  return reader;
}

Result<bool> CsvReader::take_line(std::string& text) {
  if (!std::getline(file_, text)) return false;
  ++line_;
  if (line_ == 1 && text.starts_with("\xEF\xBB\xBF")) text.erase(0, 3);
  if (!text.empty() && text.back() == '\r') text.pop_back();
  return true;
}

Result<bool> CsvReader::next() {
  do {
    auto more = take_line(text_);
    if (!more || !*more) return more;
  } while (text_.empty());
  const std::size_t began = line_;
  while (!split_cells(text_, cells_)) {
    std::string rest;
    auto more = take_line(rest);
    if (!more) return more;
    if (!*more) {
      line_ = began;
      return refuse("a quote is opened and never closed");
    }
    text_ += '\n';
    text_ += rest;
  }
  return true;
}

std::unexpected<Error> CsvReader::refuse(const std::string& what) const {
  return fail(Errc::usage, fmt::format("{}:{}: {}", path_, line_, what));
}

std::optional<double> parse_cell(std::string_view cell) {
  const std::string_view word = trim(cell);
  constexpr std::array<std::string_view, 8> nothing{"", "nan", "NaN", "NAN", "null", "None", "NA", "-"};
  if (std::ranges::find(nothing, word) != nothing.end()) return std::numeric_limits<double>::quiet_NaN();
  double value = 0;
  const char* first = word.data() + (word.front() == '+' ? 1 : 0);
  const auto [end, error] = std::from_chars(first, word.data() + word.size(), value);
  if (error != std::errc() || end != word.data() + word.size()) return std::nullopt;
  return value;
}

}  // namespace weir::explain
