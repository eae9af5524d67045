// The filter of a trace on packets that were recorded: libpcap's own machine instead of the kernel's.
#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "model/trace.h"
#include "observe/trace/filter/expression.h"

namespace weir::observe {

class PacketMatcher {
 public:
  /// Errors as compile_expression().
  static Result<PacketMatcher> compile(const std::string& expression);
  /// Whether the filter wants the packet. `vlan_tci` is the tag that was kept beside it. A filter that asks for more
  /// than was copied of the packet does not match.
  [[nodiscard]] bool matches(const model::PacketBytes& packet, std::optional<std::uint16_t> vlan_tci) const;

 private:
  PacketMatcher(ClassicProgram link, ClassicProgram network) : link_(std::move(link)), network_(std::move(network)) {}
  ClassicProgram link_;
  ClassicProgram network_;
};

}  // namespace weir::observe
