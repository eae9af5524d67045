#include "network.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <fstream>
#include <optional>
#include <string>

#include "sys/process.h"
#include "sys/scratch_thread.h"

namespace weir::bench {

namespace {

constexpr std::size_t kFlows = 256;
constexpr std::size_t kBatch = 64;
constexpr std::size_t kPayloadBytes = 18;  // Ethernet 14, IPv4 20, UDP 8: a frame of 60
constexpr std::uint16_t kFirstPort = 9000;

Result<netns::Netns> nameless_namespace() {
  std::optional<netns::Netns> made;
  auto done = sys::on_scratch_thread([&]() -> Result<void> {
    if (::unshare(CLONE_NEWNET) != 0) return fail_errno(errno, "cannot make a network namespace");
    auto current = netns::Netns::current();
    if (!current) return pass(std::move(current));
    made = *std::move(current);
    return {};
  });
  if (!done) return pass(std::move(done));
  return *std::move(made);
}

/// Runs ip(8) on a batch of commands in `ns`.
Result<void> ip(const netns::Netns& ns, const std::string& commands) {
  const sys::Fd batch(::memfd_create("weir-bench-ip", MFD_CLOEXEC));
  if (!batch.valid() || ::write(batch.get(), commands.data(), commands.size()) != std::ssize(commands)) {
    return fail_errno(errno, "cannot keep the commands for ip");
  }
  const auto ran = sys::run_command({"ip", "-batch", fmt::format("/proc/{}/fd/{}", ::getpid(), batch.get())},
                                    std::chrono::seconds(20), {.netns_fd = ns.fd()});
  if (!ran) return std::unexpected(ran.error());
  if (ran->status.success()) return {};
  return fail(Errc::failed, "ip cannot set up the test network: " + ran->err);
}

Result<void> set_sysctl(const std::string& name, const std::string& value) {
  std::ofstream file("/proc/sys/net/" + name);
  if (file << value << std::flush) return {};
  return fail(Errc::failed, "cannot write /proc/sys/net/" + name);
}

/// No IPv6 chatter between the measured packets, and forwarding where there is something to forward.
Result<void> set_sysctls(const netns::Netns& ns, bool forward) {
  return netns::run_in(ns, [forward]() -> Result<void> {
    if (::access("/proc/sys/net/ipv6", F_OK) == 0) {
      if (auto done = set_sysctl("ipv6/conf/default/disable_ipv6", "1"); !done) return done;
    }
    return set_sysctl("ipv4/ip_forward", forward ? "1" : "0");
  });
}

Result<void> connect_namespaces(const netns::Netns& sender, const netns::Netns& router, const netns::Netns& sink) {
  const pid_t self = ::getpid();
  const auto path = [self](const netns::Netns& ns) { return fmt::format("/proc/{}/fd/{}", self, ns.fd()); };
  auto done = ip(router, fmt::format("link add r0 address 02:00:00:00:00:01 type veth peer name s0 netns {}\n"
                                     "link add r1 numtxqueues 4 numrxqueues 4 type veth"
                                     " peer name k0 numtxqueues 4 numrxqueues 4 netns {}\n"
                                     "addr add 10.0.1.1/24 dev r0\naddr add 10.0.2.1/24 dev r1\n"
                                     "link set r0 up\nlink set r1 up\n"
                                     // Not the sink's address: its ip_rcv() drops the packet as somebody else's.
                                     "neigh add 10.0.2.2 lladdr 02:00:00:00:00:99 dev r1 nud permanent\n",
                                     path(sender), path(sink)));
  if (!done) return done;
  done = ip(sink, "link set k0 up\n");
  if (!done) return done;
  return ip(sender,
            "addr add 10.0.1.2/24 dev s0\nlink set s0 up\n"
            "neigh add 10.0.1.1 lladdr 02:00:00:00:00:01 dev s0 nud permanent\n"
            "route add default via 10.0.1.1\n");
}

/// 256 flows in turn to this address, host order.
Result<void> send_datagrams(int socket, std::uint32_t address, std::uint64_t packets) {
  std::array<std::byte, kPayloadBytes> payload{};
  iovec data{payload.data(), payload.size()};
  std::array<sockaddr_in, kFlows> to{};
  std::array<mmsghdr, kFlows> messages{};
  for (std::size_t flow = 0; flow < kFlows; ++flow) {
    to[flow].sin_family = AF_INET;
    to[flow].sin_port = htons(static_cast<std::uint16_t>(kFirstPort + flow));
    to[flow].sin_addr.s_addr = htonl(address);
    messages[flow].msg_hdr.msg_name = &to[flow];
    messages[flow].msg_hdr.msg_namelen = sizeof to[flow];
    messages[flow].msg_hdr.msg_iov = &data;
    messages[flow].msg_hdr.msg_iovlen = 1;
  }
  std::size_t flow = 0;
  while (packets > 0) {
    const auto batch = static_cast<unsigned>(std::min<std::uint64_t>({kBatch, packets, kFlows - flow}));
    const int sent = ::sendmmsg(socket, &messages[flow], batch, 0);
    if (sent < 0 && errno == EINTR) return {};
    if (sent <= 0) return fail_errno(errno, "cannot send");
    packets -= static_cast<std::uint64_t>(sent);
    flow = (flow + static_cast<std::size_t>(sent)) % kFlows;
  }
  return {};
}

/// What a device has received and sent.
struct DevicePackets {
  std::uint64_t received = 0;
  std::uint64_t sent = 0;
};

Result<DevicePackets> packets_of(const netns::Netns& ns, const std::string& device) {
  DevicePackets packets;
  auto done = netns::run_in(ns, [&]() -> Result<void> {
    std::ifstream devices("/proc/thread-self/net/dev");
    std::string word;
    std::uint64_t skipped = 0;
    while (devices >> word) {
      if (word != device + ":") continue;
      devices >> skipped >> packets.received;
      for (int column = 0; column < 7; ++column) devices >> skipped;  // six more of what was received, bytes sent
      if (devices >> packets.sent) return {};
    }
    return fail(Errc::failed, device + " is gone");
  });
  if (!done) return pass(std::move(done));
  return packets;
}

}  // namespace

Result<ForwardNetwork> ForwardNetwork::build() {
  auto sender = nameless_namespace();
  if (!sender) return pass(std::move(sender));
  auto router = nameless_namespace();
  if (!router) return pass(std::move(router));
  auto sink = nameless_namespace();
  if (!sink) return pass(std::move(sink));
  for (const auto* ns : {&*sender, &*router, &*sink}) {
    if (auto done = set_sysctls(*ns, ns == &*router); !done) return pass(std::move(done));
  }
  if (auto done = connect_namespaces(*sender, *router, *sink); !done) return pass(std::move(done));
  auto socket = netns::open_socket(*sender, AF_INET, SOCK_DGRAM, 0);
  if (!socket) return pass(std::move(socket));
  return ForwardNetwork(*std::move(sender), *std::move(router), *std::move(sink), *std::move(socket));
}

Result<void> ForwardNetwork::send(std::uint64_t packets) const {
  return send_datagrams(socket_.get(), 0x0A000202, packets);
}

Result<void> ForwardNetwork::send_flows(std::uint32_t flows) const {
  const std::array<std::byte, kPayloadBytes> payload{};
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_addr.s_addr = htonl(0x0A000202);
  for (std::uint32_t flow = 0; flow < flows; ++flow) {
    to.sin_port = htons(static_cast<std::uint16_t>(kFirstPort + flow));
    if (::sendto(socket_.get(), payload.data(), payload.size(), 0, reinterpret_cast<const sockaddr*>(&to), sizeof to) <
        0)
      return fail_errno(errno, "cannot send");
  }
  return {};
}

Result<std::uint64_t> ForwardNetwork::arrived() const {
  const auto packets = packets_of(sink_, "k0");
  if (!packets) return std::unexpected(packets.error());
  return packets->received;
}

Result<PairNetwork> PairNetwork::build() {
  auto sender = nameless_namespace();
  if (!sender) return pass(std::move(sender));
  auto sink = nameless_namespace();
  if (!sink) return pass(std::move(sink));
  for (const auto* ns : {&*sender, &*sink}) {
    if (auto done = set_sysctls(*ns, false); !done) return pass(std::move(done));
  }
  auto done = ip(*sender, fmt::format("link add s0 type veth peer name k0 netns /proc/{}/fd/{}\n"
                                      "addr add 10.0.3.1/24 dev s0\nlink set s0 up\n"
                                      // Not the sink's address: its ip_rcv() drops the packet as somebody else's.
                                      "neigh add {} lladdr 02:00:00:00:00:99 dev s0 nud permanent\n",
                                      ::getpid(), sink->fd(), kDestination));
  if (!done) return pass(std::move(done));
  if (done = ip(*sink, "link set k0 up\n"); !done) return pass(std::move(done));
  auto socket = netns::open_socket(*sender, AF_INET, SOCK_DGRAM, 0);
  if (!socket) return pass(std::move(socket));
  return PairNetwork(*std::move(sender), *std::move(sink), *std::move(socket));
}

Result<void> PairNetwork::send(std::uint64_t packets) const {
  return send_datagrams(socket_.get(), 0x0A000302, packets);
}

Result<PairNetwork::Counters> PairNetwork::counters() const {
  const auto at_sender = packets_of(sender_, "s0");
  if (!at_sender) return std::unexpected(at_sender.error());
  const auto at_sink = packets_of(sink_, "k0");
  if (!at_sink) return std::unexpected(at_sink.error());
  return Counters{.sent = at_sender->sent, .taken = at_sink->received};
}

}  // namespace weir::bench
