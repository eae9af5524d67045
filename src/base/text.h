// Small text tools: splitting, integer parsing, and "did you mean". Pure: no OS.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weir {

/// The parts of `text` between separators; empty parts are kept.
std::vector<std::string_view> split(std::string_view text, char separator);

/// `text` without white space at both ends.
std::string_view trim(std::string_view text);

/// `text` with control characters replaced by '?': what comes from elsewhere must not steer the reader's terminal.
std::string printable(std::string_view text);

/// Undoes the octal escapes (\040 for a space) of mountinfo and fstab.
std::string unescape_octal(std::string_view text);

/// The whole of `text` as an unsigned integer of the given base, or nothing.
std::optional<std::uint64_t> parse_u64(std::string_view text, int base = 10);

/// Number of single-character edits between two words (Levenshtein 1966).
std::size_t edit_distance(std::string_view a, std::string_view b);

/// The known words nearest to `word`, best first, at most `most`, none that is farther than a third of its length + 1.
std::vector<std::string> nearest(std::string_view word, const std::vector<std::string>& known, std::size_t most = 3);

/// "did you mean a, b or c?", or "known: …" when nothing is near and the list is short; empty when there is nothing.
std::string suggest(std::string_view word, const std::vector<std::string>& known);

}  // namespace weir
