// A packet is what anybody on the wire makes it: the first byte says where the copy begins, the rest are its bytes.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "model/packet.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto all = std::as_bytes(std::span(data, size)).subspan(1);
  const auto start = (data[0] & 1U) != 0 ? weir::model::PacketStart::link : weir::model::PacketStart::network;
  const std::uint16_t protocols[] = {0, 0x0800, 0x0806, 0x8100, 0x86DD, 0x88A8};
  const std::uint16_t protocol = protocols[(data[0] >> 1U) % 6];
  // The halves of the input are two copies, so that the comparison sees unlike packets too.
  const auto half = all.first(all.size() / 2);
  const weir::model::Packet whole = weir::model::dissect({start, 1500, {all.begin(), all.end()}}, protocol);
  const weir::model::Packet part = weir::model::dissect({start, 1500, {half.begin(), half.end()}}, protocol);
  if (weir::model::to_text(whole).empty()) std::abort();
  for (const auto& change : weir::model::packet_changes(part, whole)) {
    if (weir::model::to_text(change).empty()) std::abort();
  }
  if (!weir::model::packet_changes(whole, whole).empty()) std::abort();
  return 0;
}
