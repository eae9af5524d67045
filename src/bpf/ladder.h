// The capability ladder: what this kernel lets Weir do, found by trying it (DESIGN section 2).
#pragma once

#include <bpf/btf.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace weir::bpf {

/// One rung as it was found.
struct LadderRung {
  std::string name;  ///< "tp_btf", "netfilter_link", "tcx", …
  bool available = false;
  std::string reason;      ///< why not: the step that failed, the errno, what would give it; empty when available
  std::string without_it;  ///< what Weir does without it, in words for a user
};

struct Ladder {
  std::string kernel;  ///< uname -r
  std::vector<LadderRung> rungs;
  [[nodiscard]] bool has(std::string_view name) const;
};

/// What of the machine the ladder stands on, as values: a test (or `--btf FILE`) gives another kernel's.
struct LadderOptions {
  std::string btf_path = "/sys/kernel/btf/vmlinux";  ///< type information of the kernel
};

/// Tries every rung with a program of a few instructions, attaches it where the hook can be had without touching the
/// host (in a network namespace of an own, short-lived thread), and drops it again. Takes well under a second.
/// Errc::permission, naming the missing capabilities, when this user may not load BPF programs at all.
Result<Ladder> climb(const LadderOptions& options = {});

/// Tries one rung; `types` is the kernel's type information. False for a name that is none.
[[nodiscard]] bool has_rung(std::string_view name, const btf* types);

}  // namespace weir::bpf
