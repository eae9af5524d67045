// The headers of a packet as JSON.
#pragma once

#include "model/json_writer.h"
#include "model/packet.h"

namespace weir::model {

/// The "packet" of an event: "text" for people, then the headers.
void write_packet(JsonWriter& to, const Packet& packet);

}  // namespace weir::model
