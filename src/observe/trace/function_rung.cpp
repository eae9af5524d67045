#include "observe/trace/function_rung.h"

#include "bpf/ladder.h"
#include "observe/trace/types.h"

namespace weir::observe {

const char* to_string(FunctionRung rung) {
  switch (rung) {
    case FunctionRung::kprobe_multi:
      return "kprobe.multi";
    case FunctionRung::fentry:
      return "fentry";
    case FunctionRung::kprobe:
      return "kprobe";
    case FunctionRung::none:
      break;
  }
  return "none";
}

FunctionRung function_rung(const btf* types) {
  // A kprobe has its packet from a register, which the verifier only lets be read as one by that function.
  const bool casts = bpf::has_rung("rdonly_cast", types);
  if (casts && bpf::has_rung("kprobe_multi", types)) return FunctionRung::kprobe_multi;
  if (bpf::has_rung("fentry", types)) return FunctionRung::fentry;
  if (casts && bpf::has_rung("kprobe", types)) return FunctionRung::kprobe;
  return FunctionRung::none;
}

FunctionRung function_rung(const std::string& btf_path) {
  const Types types = load_types(btf_path);
  return types ? function_rung(types.get()) : FunctionRung::none;
}

}  // namespace weir::observe
