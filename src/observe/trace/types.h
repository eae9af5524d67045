// The kernel's type information (BTF). Private to observe/trace.
#pragma once

#include <bpf/btf.h>

#include <memory>
#include <string>

#include "bpf/log.h"

namespace weir::observe {

struct FreeTypes {
  void operator()(btf* types) const { btf__free(types); }
};

using Types = std::unique_ptr<btf, FreeTypes>;

/// Of a file, or of the running kernel when `path` is empty; none where it cannot be read.
inline Types load_types(const std::string& path) {
  const bpf::LogCapture quiet;
  return Types(path.empty() ? btf__load_vmlinux_btf() : btf__parse(path.c_str(), nullptr));
}

}  // namespace weir::observe
