#include "observe/trace/symbols.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <map>

#include "base/text.h"

namespace weir::observe {

namespace {

/// A function is not longer than this: what lies beyond belongs to no known one.
constexpr std::uint64_t kLongestFunction = 1U << 20U;

}  // namespace

Symbols Symbols::load(const std::string& path) {
  Symbols symbols;
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    // "ffffffff81000000 T name\t[module]"
    const std::size_t kind = line.find(' ');
    if (kind == std::string::npos || kind + 3 >= line.size()) continue;
    const char type = line[kind + 1];
    if (type != 't' && type != 'T' && type != 'w' && type != 'W') continue;
    const auto address = parse_u64(std::string_view(line).substr(0, kind), 16);
    if (!address || *address == 0) continue;
    std::string_view name = std::string_view(line).substr(kind + 3);
    std::string spelled(name.substr(0, name.find('\t')));
    if (const std::size_t tab = name.find('\t'); tab != std::string_view::npos) {
      spelled += ' ';
      spelled += name.substr(tab + 1);
    }
    symbols.functions_.push_back(
        {*address, static_cast<std::uint32_t>(symbols.text_.size()), static_cast<std::uint32_t>(spelled.size())});
    symbols.text_ += spelled;
  }
  std::ranges::stable_sort(symbols.functions_, {}, &Function::address);
  return symbols;
}

std::string Symbols::name(std::uint64_t address) const {
  const auto next = std::ranges::upper_bound(functions_, address, {}, &Function::address);
  if (next == functions_.begin()) return fmt::format("{:#x}", address);
  const Function& function = *std::prev(next);
  const std::uint64_t offset = address - function.address;
  if (offset > kLongestFunction) return fmt::format("{:#x}", address);
  const std::string_view spelled = std::string_view(text_).substr(function.name, function.length);
  const std::size_t module = spelled.find(' ');
  if (module == std::string_view::npos) return fmt::format("{}+{:#x}", spelled, offset);
  return fmt::format("{}+{:#x}{}", spelled.substr(0, module), offset, spelled.substr(module));
}

std::set<std::string> Symbols::traceable(const std::set<std::string>& names) const {
  std::set<std::string_view> wanted(names.begin(), names.end());
  std::map<std::string_view, unsigned> found;
  for (const Function& one : functions_) {
    const std::string_view name = std::string_view(text_).substr(one.name, one.length);
    if (wanted.contains(name)) ++found[name];
  }
  std::set<std::string> single;
  for (const auto& [name, count] : found) {
    if (count == 1) single.emplace(name);
  }
  return single;
}

}  // namespace weir::observe
