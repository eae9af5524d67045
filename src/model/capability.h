// What this kernel lets Weir do: the rungs of the capability ladder (DESIGN section 2).
#pragma once

#include <string>
#include <vector>

namespace weir::model {

/// One rung, found by trying it, never by reading a configuration file.
struct Rung {
  std::string name;  ///< "tp_btf", "netfilter_link", "tcx", "fentry", "kprobe", …
  bool available = false;
  std::string reason;      ///< why not: the errno and what it means; empty when available
  std::string without_it;  ///< what Weir does without it, in words
};

struct Capabilities {
  std::string kernel;  ///< uname -r
  std::vector<Rung> rungs;
  [[nodiscard]] bool has(const std::string& name) const {
    for (const Rung& rung : rungs) {
      if (rung.name == name) return rung.available;
    }
    return false;
  }
};

}  // namespace weir::model
