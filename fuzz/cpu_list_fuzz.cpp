// Lists and masks of CPUs: whatever parses must come back unchanged from its own words.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "sys/cpu_list.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto cpus = weir::sys::parse_cpu_list(text)) {
    const auto again = weir::sys::parse_cpu_list(weir::sys::format_cpu_list(*cpus));
    if (!again || *again != *cpus) std::abort();
  }
  if (const auto cpus = weir::sys::parse_cpu_mask(text)) {
    const auto again = weir::sys::parse_cpu_mask(weir::sys::format_cpu_mask(*cpus));
    if (!again || *again != *cpus) std::abort();
  }
  return 0;
}
