// Finding out how programs can read kernel memory on this kernel.
#pragma once

#include <cstdint>

namespace weir::bpf {

struct MemoryAccess {
  std::int32_t rdonly_cast = 0;  ///< BTF id of bpf_rdonly_cast() (6.2, commit a35b9af4ec2c); 0: there is none
  bool any_address = false;      ///< the verifier lets memory at any address be read through it, as void * (6.17)
};

/// What the running kernel's verifier takes, found by loading a program of four instructions. Nothing, without saying
/// why, also for a user who may not load programs at all. Found out once a process.
MemoryAccess memory_access();

}  // namespace weir::bpf
