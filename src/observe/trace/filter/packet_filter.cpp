#include "observe/trace/filter/packet_filter.h"

#include "observe/trace/filter/access.h"
#include "observe/trace/filter/bpf/filter_slot.h"
#include "observe/trace/filter/expression.h"
#include "observe/trace/filter/place.h"
#include "observe/trace/filter/translate.h"

namespace weir::observe {

namespace {

Result<std::vector<bpf_insn>> body_for(const std::string& expression, PacketStart start, PacketAccess access) {
  const auto classic = compile_expression(expression, start);
  if (!classic) return std::unexpected(classic.error());
  auto body = translate(*classic, access);
  if (body && body->size() > WEIR_FILTER_INSTRUCTIONS) {
    return fail(Errc::usage,
                "the filter is too long: it takes " + std::to_string(body->size()) +
                    " instructions, and there is room for " + std::to_string(WEIR_FILTER_INSTRUCTIONS),
                "make it simpler: a `net` instead of many hosts, a `portrange` instead of many ports");
  }
  return body;
}

}  // namespace

Result<PacketFilter> compile_packet_filter(const std::string& expression) {
  const PacketAccess access = best_packet_access();
  auto link = body_for(expression, PacketStart::link, access);
  if (!link) return pass(std::move(link));
  auto network = body_for(expression, PacketStart::network, access);
  if (!network) return pass(std::move(network));
  return PacketFilter{std::move(*link), std::move(*network), speaks_of_vlans(expression)};
}

Result<void> place_packet_filter(std::span<std::byte> elf_image, const PacketFilter& filter) {
  if (auto placed = place_filter(elf_image, WEIR_FILTER_LINK, filter.link); !placed) return placed;
  return place_filter(elf_image, WEIR_FILTER_NETWORK, filter.network);
}

}  // namespace weir::observe
