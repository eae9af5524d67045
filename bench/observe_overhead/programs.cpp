#include "programs.h"

#include <bpf/bpf.h>
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

namespace weir::bench {

namespace {

/// The "prog_id:" of a descriptor's fdinfo; 0 when it is no program or no link to one.
std::uint32_t program_id(const std::filesystem::path& fdinfo) {
  std::ifstream info(fdinfo);
  std::string word;
  std::uint32_t id = 0;
  while (info >> word) {
    if (word == "prog_id:" && info >> id) return id;
  }
  return 0;
}

}  // namespace

Result<std::vector<ProgramStats>> programs_of(pid_t pid) {
  std::set<std::uint32_t> ids;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(fmt::format("/proc/{}/fdinfo", pid), error)) {
    if (const std::uint32_t id = program_id(entry.path()); id != 0) ids.insert(id);
  }
  if (error) return fail_errno(error.value(), fmt::format("cannot list the descriptors of process {}", pid));
  std::vector<ProgramStats> programs;
  for (const std::uint32_t id : ids) {
    const sys::Fd fd(bpf_prog_get_fd_by_id(id));
    bpf_prog_info info{};
    std::uint32_t bytes = sizeof info;
    if (!fd.valid() || bpf_obj_get_info_by_fd(fd.get(), &info, &bytes) != 0) continue;
    programs.push_back({.id = id, .name = info.name, .runs = info.run_cnt, .run_ns = info.run_time_ns});
  }
  return programs;
}

std::vector<ProgramStats> grown(const std::vector<ProgramStats>& before, const std::vector<ProgramStats>& after) {
  std::vector<ProgramStats> delta;
  for (const ProgramStats& now : after) {
    const auto old = std::ranges::find(before, now.id, &ProgramStats::id);
    if (old == before.end()) continue;
    delta.push_back({.id = now.id, .name = now.name, .runs = now.runs - old->runs, .run_ns = now.run_ns - old->run_ns});
  }
  return delta;
}

Result<sys::Fd> enable_stats() {
  sys::Fd fd(bpf_enable_stats(BPF_STATS_RUN_TIME));
  if (!fd.valid()) return fail_errno(errno, "cannot enable BPF run statistics");
  return fd;
}

}  // namespace weir::bench
