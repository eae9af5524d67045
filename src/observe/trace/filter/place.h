// Puts translated filters into a BPF object file in memory, before it is loaded.
#pragma once

#include <linux/bpf.h>

#include <cstddef>
#include <span>
#include <string_view>

#include "base/result.h"

namespace weir::observe {

/// Makes `body` all there is of the global function `function` in the BPF object file (ELF, 64 bits, little-endian)
/// `elf_image`; made for functions by WEIR_FILTER_SLOT() of trace/filter/bpf/filter_slot.h. `body` takes its arguments
/// in r1 to r5, returns with an exit and has no instruction of two slots, which line information must not point into.
/// What was behind it is left in the file but belongs to no function any more, so that libbpf does not load it.
///
/// Errc::usage when the body is longer than the function; Errc::failed for an image that is no such file, one without
/// the function, and a function that the file has relocations for. The image is unchanged after an error.
Result<void> place_filter(std::span<std::byte> elf_image, std::string_view function, std::span<const bpf_insn> body);

}  // namespace weir::observe
