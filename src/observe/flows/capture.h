// The flows of a capture file: the account of the data plane, made of packets that somebody else recorded.
#pragma once

#include <string>

#include "base/result.h"
#include "model/flow.h"

namespace weir::observe {

/// Reads a pcap or pcapng file of link type Ethernet, raw IP, Linux cooked (SLL, SLL2) or BSD loopback. Every packet is
/// counted once, as sent by its source, with its length on the wire; the device is the file. Errc::not_found when there
/// is no such file; Errc::failed when it is no capture, of another link type, or damaged (with what was read so far in
/// `window`, and where it ended in the message).
Result<void> read_capture(const std::string& path, const model::ElephantPolicy& policy, model::FlowWindow& window);

}  // namespace weir::observe
