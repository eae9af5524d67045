#include "bpf/program.h"

#include <bpf/bpf.h>
#include <fmt/format.h>
#include <linux/bpf.h>

#include <cerrno>

#include "sys/fd.h"

namespace weir::bpf {

Result<ProgramInfo> program_info(int program_fd) {
  bpf_prog_info info{};
  std::uint32_t bytes = sizeof info;
  if (const int err = bpf_obj_get_info_by_fd(program_fd, &info, &bytes); err != 0) {
    return fail_errno(err, "cannot ask the kernel about a BPF program");
  }
  std::string tag;
  for (const std::uint8_t byte : info.tag) tag += fmt::format("{:02x}", byte);
  return ProgramInfo{info.id, static_cast<const char*>(info.name), std::move(tag)};
}

Result<std::optional<ProgramInfo>> find_program(std::uint32_t id) {
  const sys::Fd program(bpf_prog_get_fd_by_id(id));
  if (!program.valid()) {
    if (errno == ENOENT) return std::nullopt;
    return fail_errno(errno, fmt::format("cannot look for BPF program {}", id));
  }
  auto info = program_info(program.get());
  if (!info) return pass(std::move(info));
  return *std::move(info);
}

}  // namespace weir::bpf
