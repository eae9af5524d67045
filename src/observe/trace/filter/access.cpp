#include "observe/trace/filter/access.h"

#include "bpf/memory_access.h"

namespace weir::observe {

PacketAccess best_packet_access() {
  const bpf::MemoryAccess access = bpf::memory_access();
  return access.any_address ? PacketAccess{access.rdonly_cast} : PacketAccess{};
}

}  // namespace weir::observe
