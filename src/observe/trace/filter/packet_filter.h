// The filter of a trace: which packets are wanted, as the kernel decides it.
#pragma once

#include <linux/bpf.h>

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace weir::observe {

/// An expression as two function bodies: for packets that begin with a link header, and with a network header.
struct PacketFilter {
  std::vector<bpf_insn> link;
  std::vector<bpf_insn> network;
  bool speaks_of_vlans = false;  ///< then packets with a tag beside the frame need weir_filter_link_tagged(), too
};

/// For the running kernel, by the quickest access to packets that it takes. Errors as compile_expression();
/// Errc::usage, too, when it becomes longer than there is room in a slot for.
Result<PacketFilter> compile_packet_filter(const std::string& expression);

/// Puts both into the functions `weir_filter_link` and `weir_filter_network` of a BPF object file; see place_filter().
Result<void> place_packet_filter(std::span<std::byte> elf_image, const PacketFilter& filter);

}  // namespace weir::observe
