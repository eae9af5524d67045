#include "bpftrace.h"

#include <poll.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <string>

namespace weir::bench {

namespace {

// The last probe tells that the others are there: bpftrace attaches all of them before it waits for timers.
// bpftrace 0.17 looks for tracefs below debugfs; a host that has them mounted gets them over itself, unseen outside.
constexpr const char* kCommand =
    "mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null\n"
    "mount -t tracefs tracefs /sys/kernel/debug/tracing 2>/dev/null\n"
    "exec bpftrace -e '\n"
    "tracepoint:net:net_dev_start_xmit { @tx[str(args->name), args->queue_mapping] = count(); }\n"
    "tracepoint:net:netif_receive_skb { @rx[str(args->name)] = count(); }\n"
    "interval:ms:100 { if (!@ready) { @ready = 1; printf(\"counting\\n\"); } }'\n";
constexpr int kNotInstalled = 127;  // sh: no such command
constexpr std::chrono::seconds kStartLimit{20};

/// Reads until the script says that it counts.
bool wait_until_counting(int output) {
  const auto deadline = std::chrono::steady_clock::now() + kStartLimit;
  std::string said;
  while (said.find("counting") == std::string::npos) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
    pollfd ready{.fd = output, .events = POLLIN, .revents = 0};
    if (left <= 0 || ::poll(&ready, 1, static_cast<int>(left)) <= 0) return false;
    std::array<char, 256> part{};
    const ssize_t bytes = ::read(output, part.data(), part.size());
    if (bytes <= 0) return false;
    said.append(part.data(), static_cast<std::size_t>(bytes));
  }
  return true;
}

}  // namespace

Result<sys::Process> start_bpftrace() {
  auto running = sys::Process::spawn({"unshare", "--mount", "sh", "-c", kCommand},
                                     {.die_with_parent = true, .capture = true, .own_group = true});
  if (!running) return running;
  if (wait_until_counting(running->out_fd())) return running;
  const auto ended = running->wait(std::chrono::milliseconds(100));
  if (ended && *ended && (*ended)->code == kNotInstalled) {
    return fail(Errc::not_found, "bpftrace is not installed", "apt install bpftrace");
  }
  return fail(Errc::failed, "bpftrace did not start counting");
}

}  // namespace weir::bench
