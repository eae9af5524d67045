// Names for addresses of the kernel's code.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace weir::observe {

/// The functions of the running kernel, from /proc/kallsyms.
class Symbols {
 public:
  /// Without names where the kernel hides addresses (kernel.kptr_restrict) or the file is missing.
  static Symbols load(const std::string& path = "/proc/kallsyms");

  /// "ip_rcv+0x1c", with the module in brackets where it is one; the bare address where no symbol is known.
  [[nodiscard]] std::string name(std::uint64_t address) const;
  /// Those of the names that are exactly one function's in the kernel's text.
  [[nodiscard]] std::set<std::string> traceable(const std::set<std::string>& names) const;
  [[nodiscard]] bool empty() const { return functions_.empty(); }

 private:
  struct Function {
    std::uint64_t address = 0;
    std::uint32_t name = 0;  ///< offset in text_
    std::uint32_t length = 0;
  };
  std::vector<Function> functions_;  ///< by address
  std::string text_;
};

}  // namespace weir::observe
