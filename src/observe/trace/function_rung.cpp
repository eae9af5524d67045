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

bool has_function_rung(FunctionRung rung, const btf* types) {
  // A kprobe has its packet from a register, which the verifier only lets be read as one by bpf_rdonly_cast().
  switch (rung) {
    case FunctionRung::kprobe_multi:
      return bpf::has_rung("rdonly_cast", types) && bpf::has_rung("kprobe_multi", types);
    case FunctionRung::fentry:
      return bpf::has_rung("fentry", types);
    case FunctionRung::kprobe:
      return bpf::has_rung("rdonly_cast", types) && bpf::has_rung("kprobe", types);
    case FunctionRung::none:
      break;
  }
  return true;
}

FunctionRung function_rung(const btf* types) {
  for (const FunctionRung rung : {FunctionRung::kprobe_multi, FunctionRung::fentry, FunctionRung::kprobe}) {
    if (has_function_rung(rung, types)) return rung;
  }
  return FunctionRung::none;
}

FunctionRung function_rung(const std::string& btf_path) {
  const Types types = load_types(btf_path);
  return types ? function_rung(types.get()) : FunctionRung::none;
}

}  // namespace weir::observe
