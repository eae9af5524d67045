// A journal's file that somebody has edited, or that a disk has mangled: whatever parses must come back from its own
// text.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "steer/journal.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto entry = weir::steer::parse_entry(std::string(reinterpret_cast<const char*>(data), size));
  if (!entry) return 0;
  const std::string text = weir::steer::to_text(*entry);
  const auto again = weir::steer::parse_entry(text);
  if (!again || weir::steer::to_text(*again) != text || again->file_name() != entry->file_name()) std::abort();
  return 0;
}
