#include "observe/trace/filter/expression.h"

#include <pcap/pcap.h>

#include <memory>
#include <mutex>

namespace weir::observe {

namespace {

constexpr std::uint16_t kJumpAlways = 0x05;
constexpr std::uint16_t kReturnConstant = 0x06;
// libpcap's optimizer needs time and memory with the cube of the length: 6 s for 400 hosts, 40 s for 800.
constexpr std::size_t kLongestOptimized = 8192;

/// What libpcap makes of an expression, or what it says against it.
std::expected<ClassicProgram, std::string> compile(const std::string& expression, PacketStart start) {
  constexpr int kSnapLength = 262144;  // the longest that tcpdump asks for: matching packets give this back
  const int link_type = start == PacketStart::link ? DLT_EN10MB : DLT_RAW;
  const std::unique_ptr<pcap_t, void (*)(pcap_t*)> handle(pcap_open_dead(link_type, kSnapLength), pcap_close);
  if (!handle) return std::unexpected("no memory");
  bpf_program compiled{};
  const int optimize = expression.size() <= kLongestOptimized ? 1 : 0;
  if (pcap_compile(handle.get(), &compiled, expression.c_str(), optimize, PCAP_NETMASK_UNKNOWN) != 0) {
    return std::unexpected(pcap_geterr(handle.get()));
  }
  const std::unique_ptr<bpf_program, void (*)(bpf_program*)> freed(&compiled, pcap_freecode);
  ClassicProgram program;
  program.reserve(compiled.bf_len);
  for (const bpf_insn& insn : std::span(compiled.bf_insns, compiled.bf_len)) {
    program.push_back({insn.code, insn.jt, insn.jf, insn.k});
  }
  return program;
}

/// libpcap does not say where the syntax is wrong: the longest part from the start, by words, that is none.
std::string hint_for(const std::string& expression, const std::string& said) {
  std::size_t end = expression.size();
  while (said.find("syntax error") != std::string::npos && (end = expression.find_last_of(' ', end)) != 0) {
    if (end == std::string::npos) break;
    const std::string part = expression.substr(0, end--);
    if (part.find_first_not_of(' ') != std::string::npos && compile(part, PacketStart::link)) {
      return "it makes sense up to here: " + part;
    }
  }
  return "the language is that of tcpdump: man pcap-filter";
}

/// Jumps of a classic program go forward, but libpcap writes negative ones for `protochain`.
bool has_loop(const ClassicProgram& program) {
  for (const ClassicInstruction& insn : program) {
    if (insn.code == kJumpAlways && insn.k >= program.size()) return true;
  }
  return false;
}

}  // namespace

Result<ClassicProgram> compile_expression(const std::string& expression, PacketStart start) {
  // pcap_compile() is not reentrant in every version that is still around.
  static std::mutex one_at_a_time;
  const std::scoped_lock lock(one_at_a_time);
  auto program = compile(expression, start);
  if (!program) {
    const PacketStart other = start == PacketStart::link ? PacketStart::network : PacketStart::link;
    if (compile(expression, other)) return ClassicProgram{{kReturnConstant, 0, 0, 0}};
    return fail(Errc::usage, "filter \"" + expression + "\": " + program.error(),
                hint_for(expression, program.error()));
  }
  if (has_loop(*program)) {
    return fail(Errc::usage,
                "filter \"" + expression + "\": protochain follows headers in a loop, which the kernel does not run",
                "\"ip6 proto N\" looks at the first header and behind a fragment header");
  }
  return std::move(*program);
}

bool speaks_of_vlans(const std::string& expression) {
  return expression.find("vlan") != std::string::npos;
}

bool never_matches(const ClassicProgram& program) {
  return program.size() == 1 && program[0].code == kReturnConstant && program[0].k == 0;
}

}  // namespace weir::observe
