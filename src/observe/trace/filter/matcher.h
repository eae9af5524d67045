// The filter of a trace on packets that were recorded: libpcap's own machine instead of the kernel's.
#pragma once

#include <string>

#include "base/result.h"
#include "model/trace.h"
#include "observe/trace/filter/expression.h"

namespace weir::observe {

class PacketMatcher {
 public:
  /// Errors as compile_expression().
  static Result<PacketMatcher> compile(const std::string& expression);
  /// Whether the filter wants the packet, whose VLAN tag may have been kept beside it in `skb`. As in the kernel, only
  /// a filter that speaks of VLANs sees that tag. One that asks for more than was copied of the packet does not match.
  [[nodiscard]] bool matches(const model::PacketBytes& packet, const model::SkbFields& skb) const;

 private:
  PacketMatcher(ClassicProgram link, ClassicProgram network, bool sees_tags)
      : link_(std::move(link)), network_(std::move(network)), sees_tags_(sees_tags) {}
  ClassicProgram link_;
  ClassicProgram network_;
  bool sees_tags_;
};

}  // namespace weir::observe
