// A file of its own: pcap/bpf.h and linux/bpf.h each have a bpf_insn.
#include "support/libpcap_machine.h"

#include <pcap/bpf.h>

#include <vector>

namespace weir::test {

namespace {

std::vector<bpf_insn> as_libpcap_has_it(std::span<const observe::ClassicInstruction> program) {
  std::vector<bpf_insn> out;
  for (const auto& insn : program) out.push_back({insn.code, insn.jump_true, insn.jump_false, insn.k});
  return out;
}

}  // namespace

std::uint32_t run_classic(std::span<const observe::ClassicInstruction> program, std::span<const std::uint8_t> captured,
                          std::uint32_t length) {
  return bpf_filter(as_libpcap_has_it(program).data(), captured.data(), length, static_cast<u_int>(captured.size()));
}

bool is_valid_classic(std::span<const observe::ClassicInstruction> program) {
  return bpf_validate(as_libpcap_has_it(program).data(), static_cast<int>(program.size())) != 0;
}

}  // namespace weir::test
