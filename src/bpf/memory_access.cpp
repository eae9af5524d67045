#include "bpf/memory_access.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>

#include <memory>

#include "bpf/log.h"
#include "sys/fd.h"

namespace weir::bpf {

namespace {

/// Whether a load may go through what the function makes of a number, as a pointer to void: before Linux 6.17 it was
/// for pointers to structures only.
bool makes_addresses(std::int32_t rdonly_cast) {
  const auto insn = [](int code, int to, int from, int immediate) {
    bpf_insn out{};
    out.code = static_cast<std::uint8_t>(code);
    out.dst_reg = static_cast<std::uint8_t>(to & 0xf);
    out.src_reg = static_cast<std::uint8_t>(from & 0xf);
    out.imm = immediate;
    return out;
  };
  const bpf_insn program[] = {
      insn(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_1, 0, 0),
      insn(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_2, 0, 0),
      insn(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_KFUNC_CALL, rdonly_cast),
      insn(BPF_LDX | BPF_MEM | BPF_W, BPF_REG_0, BPF_REG_0, 0),
      insn(BPF_JMP | BPF_EXIT, 0, 0, 0),
  };
  bpf_prog_load_opts options{};
  options.sz = sizeof options;
  const sys::Fd loaded(
      bpf_prog_load(BPF_PROG_TYPE_RAW_TRACEPOINT, "weir_probe", "Dual BSD/GPL", program, std::size(program), &options));
  return loaded.valid();
}

MemoryAccess find_out() {
  const LogCapture quiet;
  const std::unique_ptr<btf, void (*)(btf*)> kernel(btf__load_vmlinux_btf(), btf__free);
  if (!kernel) return {};
  const std::int32_t id = btf__find_by_name_kind(kernel.get(), "bpf_rdonly_cast", BTF_KIND_FUNC);
  if (id <= 0) return {};
  return {.rdonly_cast = id, .any_address = makes_addresses(id)};
}

}  // namespace

MemoryAccess memory_access() {
  // A trace asks for its filter and for its programs, and the kernel's types are megabytes to parse.
  static const MemoryAccess found = find_out();
  return found;
}

}  // namespace weir::bpf
