// Running a loaded program once on a made packet, without any device: BPF_PROG_TEST_RUN.
#pragma once

#include <bpf/bpf.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"

namespace weir::bpf {

/// What a run gave back.
struct TestRun {
  std::uint32_t return_value = 0;
  std::vector<std::byte> packet;      ///< as the program left it
  std::chrono::nanoseconds duration;  ///< average of one run
};

/// Runs `program_fd` on `packet` (from the Ethernet header on). `context` is the program's own view (__sk_buff for tc,
/// with the restrictions of net/bpf/test_run.c on fields that may be set); it holds the program's changes afterwards.
template <class Context>
Result<TestRun> test_run(int program_fd, std::span<const std::byte> packet, Context& context, int repeat = 1) {
  TestRun run;
  run.packet.resize(packet.size() + 256);  // room for a program that adds headers
  bpf_test_run_opts options{};
  options.sz = sizeof options;
  options.data_in = packet.data();
  options.data_size_in = static_cast<std::uint32_t>(packet.size());
  options.data_out = run.packet.data();
  options.data_size_out = static_cast<std::uint32_t>(run.packet.size());
  Context after{};
  options.ctx_in = &context;
  options.ctx_size_in = sizeof(Context);
  options.ctx_out = &after;
  options.ctx_size_out = sizeof(Context);
  options.repeat = repeat;
  if (const int err = bpf_prog_test_run_opts(program_fd, &options); err != 0) {
    return fail_errno(err, "cannot run the BPF program on a packet");
  }
  context = after;
  run.packet.resize(options.data_size_out);
  run.return_value = options.retval;
  run.duration = std::chrono::nanoseconds(options.duration);
  return run;
}

}  // namespace weir::bpf
