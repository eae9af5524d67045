// Netlink attributes and the messages that observe/config reads, from arbitrary bytes.
#include <linux/if_link.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "observe/config/links.h"
#include "observe/config/traffic_control.h"
#include "sys/netlink_attr.h"

namespace {

using weir::sys::AttrKind;

constexpr weir::sys::AttrRule kPolicy[] = {{1, AttrKind::u8},   {2, AttrKind::u16},       {3, AttrKind::u32},
                                           {4, AttrKind::u64},  {5, AttrKind::string},    {6, AttrKind::nested},
                                           {7, AttrKind::flag}, {8, AttrKind::binary, 4}, {9, AttrKind::s32}};

/// Reads everything, so that the sanitizer sees every byte that is handed out.
std::uint64_t read_all(std::span<const std::byte> bytes, int depth) {
  const auto parsed = weir::sys::Attributes::parse(bytes, kPolicy);
  if (!parsed) return 0;
  std::uint64_t sum = parsed->u8(1).value_or(0) + parsed->u16(2).value_or(0) + parsed->u32(3).value_or(0) +
                      parsed->u64(4).value_or(0) + static_cast<std::uint64_t>(parsed->s32(9).value_or(0));
  for (const char c : parsed->string(5)) sum += static_cast<unsigned char>(c);
  for (const std::byte b : parsed->bytes(8)) sum += std::to_integer<std::uint64_t>(b);
  if (const auto elements = parsed->elements(6)) sum += elements->size();
  return depth > 0 ? sum + read_all(parsed->bytes(6), depth - 1) : sum;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  volatile std::uint64_t sum = read_all(bytes, 4);
  static_cast<void>(sum);
  const weir::sys::NetlinkMessage message(bytes);
  static_cast<void>(weir::observe::config::parse_link(message));
  static_cast<void>(weir::observe::config::parse_qdisc(message));
  static_cast<void>(weir::observe::config::parse_filter(message, weir::model::TcFilter::Hook::ingress));
  return 0;
}
