// StrongId: integers of different meanings that the compiler keeps apart.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>

namespace weir {

/// An integer with a meaning. `Tag` is any type that names the meaning; no arithmetic, only comparison and hashing.
template <class Tag, class Rep>
struct StrongId {
  Rep value{};
  constexpr auto operator<=>(const StrongId&) const = default;
};

/// Index of a network device inside its namespace (if_nametoindex(3)); 0 is "none".
using IfIndex = StrongId<struct IfIndexTag, std::uint32_t>;

}  // namespace weir

template <class Tag, class Rep>
struct std::hash<weir::StrongId<Tag, Rep>> {
  std::size_t operator()(const weir::StrongId<Tag, Rep>& id) const noexcept { return std::hash<Rep>{}(id.value); }
};
