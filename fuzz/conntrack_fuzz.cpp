// Conntrack's messages from arbitrary bytes, as dumps and as events.
#include <cstddef>
#include <cstdint>
#include <span>

#include "observe/flows/conntrack/message.h"
#include "observe/flows/conntrack/table.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  weir::observe::ConntrackTable table(1, 16);
  static_cast<void>(weir::observe::is_conntrack(bytes));
  if (const auto message = weir::observe::parse_conntrack(bytes)) {
    static_cast<void>(state_text(message->entry));
    table.begin_dump();
    table.take_dumped(*message, {});
    table.end_dump({});
    table.take_event(*message, {});
  }
  return 0;
}
