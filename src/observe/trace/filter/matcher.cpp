#include "observe/trace/filter/matcher.h"

#include <pcap/bpf.h>

#include <vector>

namespace weir::observe {

namespace {

constexpr std::size_t kAddressesBytes = 12;
constexpr std::size_t kTagBytes = 4;

bool run(const ClassicProgram& program, std::span<const std::byte> bytes, std::uint32_t length) {
  std::vector<bpf_insn> code;
  code.reserve(program.size());
  for (const ClassicInstruction& one : program) code.push_back({one.code, one.jump_true, one.jump_false, one.k});
  const auto* data = reinterpret_cast<const u_char*>(bytes.data());
  return bpf_filter(code.data(), data, length, static_cast<u_int>(bytes.size())) != 0;
}

}  // namespace

Result<PacketMatcher> PacketMatcher::compile(const std::string& expression) {
  auto link = compile_expression(expression, PacketStart::link);
  if (!link) return pass(std::move(link));
  auto network = compile_expression(expression, PacketStart::network);
  if (!network) return pass(std::move(network));
  return PacketMatcher(*std::move(link), *std::move(network), speaks_of_vlans(expression));
}

bool PacketMatcher::matches(const model::PacketBytes& packet, const model::SkbFields& skb) const {
  if (packet.start == model::PacketStart::network) return run(network_, packet.bytes, packet.length);
  if (!sees_tags_ || !skb.vlan_tci) return run(link_, packet.bytes, packet.length);
  if (packet.bytes.size() < kAddressesBytes) return false;
  // Back to where it was on the wire, as the kernel's side does.
  std::vector<std::byte> tagged = packet.bytes;
  const auto byte = [](unsigned number) { return static_cast<std::byte>(number & 0xFFU); };
  const std::byte tag[kTagBytes] = {byte(skb.vlan_protocol >> 8U), byte(skb.vlan_protocol), byte(*skb.vlan_tci >> 8U),
                                    byte(*skb.vlan_tci)};
  tagged.insert(tagged.begin() + kAddressesBytes, std::begin(tag), std::end(tag));
  return run(link_, tagged, packet.length + kTagBytes);
}

}  // namespace weir::observe
