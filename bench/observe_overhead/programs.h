// What the kernel counts of BPF programs while BPF_ENABLE_STATS is held.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "sys/fd.h"

namespace weir::bench {

/// One program and its cumulative run statistics (bpf_prog_info run_time_ns, run_cnt).
struct ProgramStats {
  std::uint32_t id = 0;
  std::string name;
  std::uint64_t runs = 0;
  std::uint64_t run_ns = 0;
};

/// The programs of which `pid` holds a descriptor, by /proc/PID/fdinfo: nobody else's, whatever runs on this host.
Result<std::vector<ProgramStats>> programs_of(pid_t pid);

/// `after - before`, by id; programs that are in one of the lists only are left out.
std::vector<ProgramStats> grown(const std::vector<ProgramStats>& before, const std::vector<ProgramStats>& after);

/// Run statistics are kept as long as this descriptor is open; each run of each program of the host then costs two
/// clock reads more.
Result<sys::Fd> enable_stats();

}  // namespace weir::bench
