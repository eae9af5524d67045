// A file of its own: pcap/bpf.h and linux/bpf.h each have a bpf_insn.
#include "support/libpcap_machine.h"

#include <pcap/bpf.h>

#include <vector>

namespace weir::test {

struct LibpcapProgram::Instructions {
  std::vector<bpf_insn> all;
};

LibpcapProgram::LibpcapProgram(std::span<const observe::ClassicInstruction> program)
    : instructions_(std::make_unique<Instructions>()) {
  for (const auto& insn : program) instructions_->all.push_back({insn.code, insn.jump_true, insn.jump_false, insn.k});
}

LibpcapProgram::~LibpcapProgram() = default;

std::uint32_t LibpcapProgram::run(std::span<const std::uint8_t> captured, std::uint32_t length) const {
  return bpf_filter(instructions_->all.data(), captured.data(), length, static_cast<u_int>(captured.size()));
}

bool LibpcapProgram::valid() const {
  return bpf_validate(instructions_->all.data(), static_cast<int>(instructions_->all.size())) != 0;
}

std::uint32_t run_classic(std::span<const observe::ClassicInstruction> program, std::span<const std::uint8_t> captured,
                          std::uint32_t length) {
  return LibpcapProgram(program).run(captured, length);
}

bool is_valid_classic(std::span<const observe::ClassicInstruction> program) {
  return LibpcapProgram(program).valid();
}

}  // namespace weir::test
