// nftables trace messages from arbitrary bytes, and the question whose they are.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "observe/trace/nft/join.h"
#include "observe/trace/nft/message.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  const std::size_t cut = size == 0 ? 0 : std::min<std::size_t>(data[0], size);
  weir::observe::NftTraceMessage message;
  message.packet.network.assign(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(cut));
  message.packet.transport.assign(bytes.begin() + static_cast<std::ptrdiff_t>(cut), bytes.end());
  static_cast<void>(weir::observe::same_packet(message, bytes.subspan(cut)));
  static_cast<void>(weir::observe::same_packet(message, bytes));
  if (auto trace = weir::observe::parse_nft_trace(weir::sys::NetlinkMessage(bytes))) {
    weir::observe::NftHeaderCarrier carrier;
    static_cast<void>(carrier.complete(*trace));
    static_cast<void>(weir::observe::same_packet(*trace, bytes));
  }
  return 0;
}
