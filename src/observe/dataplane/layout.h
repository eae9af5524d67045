// What two builds of a BPF object must have in common for one to go on with the other's maps.
#pragma once

#include <bpf/libbpf.h>

#include <cstdint>
#include <span>

namespace weir::observe {

/// FNV-1a, 64 bits.
[[nodiscard]] std::uint64_t hash_bytes(std::span<const std::byte> bytes, std::uint64_t hash = 0xCBF29CE484222325ULL);

/// Of every map but the read-only constants: name, type, flags, number of entries, and key and value down to name,
/// place and size of each member.
[[nodiscard]] std::uint64_t layout_hash(const bpf_object* object);

/// Whether this map is the object's read-only constants, which belong to its programs and not to what they count.
[[nodiscard]] bool is_constants(const bpf_map* map);

}  // namespace weir::observe
