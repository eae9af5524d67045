// Conditions from the fuzzer: whatever they are, they are either refused with a place, or can be asked.
#include <cstdlib>

#include "observe/trace/where/event_fields.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string expression(data, data + size);
  const auto where = weir::observe::Where::parse(expression, weir::observe::event_fields());
  if (!where) {
    if (where.error().code != weir::Errc::usage || where.error().hint.find('^') == std::string::npos) std::abort();
    return 0;
  }
  weir::model::TraceEvent event;
  event.device.name = "eth0";
  event.skb.mark = 0x10;
  weir::model::Packet packet;
  packet.ip = weir::model::IpHeader{};
  packet.ip->src = "10.0.0.1";
  packet.ip->dst = "2001:db8::1";
  const bool holds = weir::observe::matches(*where, event, &packet, nullptr);
  const auto opposite = weir::observe::Where::parse("!(" + expression + ")", weir::observe::event_fields());
  // One level more may be one too many.
  if (opposite && weir::observe::matches(*opposite, event, &packet, nullptr) == holds) std::abort();
  return 0;
}
