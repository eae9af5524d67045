// A classic BPF program and a packet from the fuzzer: the translation and libpcap must agree.
#include <cstdlib>
#include <cstring>

#include "observe/trace/filter/translate.h"
#include "support/ebpf_machine.h"
#include "support/libpcap_machine.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using weir::observe::ClassicInstruction;
  if (size < 2) return 0;
  const std::size_t instructions = 1 + data[0] % 32;
  const std::size_t bytes = instructions * sizeof(ClassicInstruction);
  if (size < 1 + bytes) return 0;
  weir::observe::ClassicProgram program(instructions);
  std::memcpy(program.data(), data + 1, bytes);
  if (!weir::test::is_valid_classic(program)) return 0;
  std::vector<std::vector<bpf_insn>> translations;
  for (const std::int32_t cast : {0, 1}) {
    auto translated = weir::observe::translate(program, {.rdonly_cast = cast});
    if (!translated) return 0;
    translations.push_back(std::move(*translated));
  }
  for (const ClassicInstruction& insn : program) {
    // What libpcap leaves undefined: cells that were never written, shifts by too much.
    if (insn.code == 0x60 || insn.code == 0x61) return 0;
    if ((insn.code == 0x64 || insn.code == 0x74) && insn.k >= 32) return 0;
  }
  const std::vector<std::uint8_t> packet(data + 1 + bytes, data + size);
  const auto length = static_cast<std::uint32_t>(packet.size());
  const auto expected = weir::test::run_classic(program, packet, length);
  for (const auto& translated : translations) {
    const auto got = weir::test::EbpfMachine().run(translated, packet.data(), packet.size(), length);
    if (got != expected) std::abort();
  }
  return 0;
}
