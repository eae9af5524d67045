// By which means the functions of this kernel can be looked at.
#pragma once

#include <bpf/btf.h>

#include <cstdint>
#include <string>

namespace weir::observe {

enum class FunctionRung : std::uint8_t {
  kprobe_multi,  ///< all at once (Linux 5.18, CONFIG_FPROBE); with bpf_rdonly_cast(), Linux 6.2
  fentry,        ///< a program loaded for each (Linux 5.19, for the cookie)
  kprobe,        ///< one program, attached to each; with bpf_rdonly_cast()
  none,
};

/// "kprobe.multi", "fentry", "kprobe", "none".
const char* to_string(FunctionRung rung);

/// Whether this kernel and this user can, found by trying. True for `none`.
bool has_function_rung(FunctionRung rung, const btf* types);

/// Found by trying, the best first.
FunctionRung function_rung(const btf* types);
/// The same with the type information of a file; empty: the running kernel's own.
FunctionRung function_rung(const std::string& btf_path = {});

}  // namespace weir::observe
