// Names for the numbers of enum skb_drop_reason, which differ from kernel to kernel.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace weir::observe {

/// Reasons by number, from the kernel's type information: the core's own, and those of subsystems (mac80211, Open
/// vSwitch), which keep theirs above bit 16.
class DropReasons {
 public:
  /// Empty where there is no such type (before Linux 5.17) or no type information.
  static DropReasons load(const std::string& btf_path = {});
  explicit DropReasons(std::map<std::uint32_t, std::string> names = {}) : names_(std::move(names)) {}

  /// "NETFILTER_DROP"; "#N" where unknown.
  [[nodiscard]] std::string name(std::uint32_t number) const;
  [[nodiscard]] const std::map<std::uint32_t, std::string>& all() const { return names_; }

 private:
  std::map<std::uint32_t, std::string> names_;
};

}  // namespace weir::observe
