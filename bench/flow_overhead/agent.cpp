#include "agent.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <thread>

#include "netns/netns.h"
#include "observe/flows/flow_watch.h"
#include "support/namespaces.h"
#include "sys/clock.h"
#include "sys/poll_until.h"
#include "sys/process.h"

namespace weir::bench {

namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

constexpr std::uint16_t kFirstPort = 20000;

/// A line "NAME: N kB" of /proc/PID/status, in bytes.
std::uint64_t status_bytes(pid_t pid, const std::string& name) {
  std::ifstream status(fmt::format("/proc/{}/status", pid));
  std::string word;
  std::uint64_t kilobytes = 0;
  while (status >> word) {
    if (word == name + ":" && status >> kilobytes) return kilobytes << 10U;
  }
  return 0;
}

/// "memlock:" of every map that the process has.
std::uint64_t map_bytes_of(pid_t pid) {
  std::map<std::uint64_t, std::uint64_t> by_id;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(fmt::format("/proc/{}/fdinfo", pid), error)) {
    std::ifstream info(entry.path());
    std::string word;
    std::uint64_t bytes = 0;
    std::uint64_t id = 0;
    while (info >> word) {
      if (word == "memlock:") info >> bytes;
      if (word == "map_id:") info >> id;
    }
    if (id != 0) by_id[id] = bytes;
  }
  std::uint64_t sum = 0;
  for (const auto& [id, bytes] : by_id) sum += bytes;
  return sum;
}

struct Flow {
  nanoseconds began{};
  nanoseconds crossed{};  ///< when the packet was sent that makes it an elephant; 0: not yet
  std::uint64_t bytes = 0;
};

/// Sends over `flows` in turn and writes down when each crosses the policy.
class Sender {
 public:
  Sender(const test::Namespace& from, const model::ElephantPolicy& policy) : policy_(policy) {
    auto socket = netns::open_socket(from.netns(), AF_INET, SOCK_DGRAM, 0);
    if (socket) socket_ = *std::move(socket);
  }
  /// Until all of them, on ports from `first` on, have crossed.
  void cross(std::uint16_t first, std::vector<Flow>& flows) {
    constexpr std::size_t kPayload = 1000;
    constexpr std::uint64_t kHeaders = 14 + 20 + 8;
    const std::array<char, kPayload> data{};
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_addr.s_addr = htonl(0x0A000402);
    std::size_t left = flows.size();
    while (left > 0) {
      for (std::size_t i = 0; i < flows.size(); ++i) {
        Flow& flow = flows[i];
        if (flow.crossed.count() != 0) continue;
        to.sin_port = htons(static_cast<std::uint16_t>(first + i));
        const nanoseconds now = clock_.monotonic();
        if (flow.bytes == 0) flow.began = now;
        flow.bytes += kPayload + kHeaders;
        if (flow.bytes >= policy_.bytes && now - flow.began >= policy_.sustained) {
          flow.crossed = now;
          --left;
        }
        ::sendto(socket_.get(), data.data(), data.size(), 0, reinterpret_cast<const sockaddr*>(&to), sizeof to);
        // The packets that the kernel's tick makes it wait for: a crossing is told with the first one behind it.
        if (flow.crossed.count() != 0) over_.push_back({to, 0});
      }
      send_on(data);
      std::this_thread::sleep_for(milliseconds(1));  // span: a packet a flow and millisecond
    }
    for (int tick = 0; tick < 50; ++tick) {
      send_on(data);
      std::this_thread::sleep_for(milliseconds(1));  // span: the same
    }
    over_.clear();
  }

 private:
  struct Over {
    sockaddr_in to;
    int sent;
  };
  /// A flow that has become an elephant goes on for a while, as elephants do.
  void send_on(const std::array<char, 1000>& data) {
    for (Over& flow : over_) {
      if (++flow.sent > 50) continue;
      ::sendto(socket_.get(), data.data(), data.size(), 0, reinterpret_cast<const sockaddr*>(&flow.to), sizeof flow.to);
    }
  }

  model::ElephantPolicy policy_;
  sys::Fd socket_;
  sys::SystemClock clock_;
  std::vector<Over> over_;
};

}  // namespace

Result<AgentMemory> measure_memory(const ForwardNetwork& network, const std::string& weir, std::uint32_t flows) {
  auto agent = sys::Process::spawn({weir, "flows", "list", "--for", "1m", "--json", "--flows", std::to_string(flows)},
                                   {.die_with_parent = true, .quiet = true});
  if (!agent) return pass(std::move(agent));
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  if (!sys::poll_until(deadline, [&] { return map_bytes_of(agent->pid()) > (8U << 20U); }))
    return fail(Errc::failed, "weir flows list did not begin");
  AgentMemory memory{.live_flows = flows};
  memory.map_bytes = map_bytes_of(agent->pid());
  if (auto sent = network.send_flows(flows / 4); !sent) return pass(std::move(sent));
  // It looks at its flows once a second.
  std::this_thread::sleep_for(milliseconds(3500));  // span: some of its rounds
  if (auto sent = network.send_flows(flows / 4); !sent) return pass(std::move(sent));
  std::this_thread::sleep_for(milliseconds(2500));  // span: the same
  memory.watching_bytes = status_bytes(agent->pid(), "RssAnon");
  if (auto asked = agent->signal(SIGINT); !asked) return pass(std::move(asked));
  // The list is made of them in the end, which is when it is largest.
  while (true) {
    memory.resident_bytes = std::max(memory.resident_bytes, status_bytes(agent->pid(), "VmHWM"));
    memory.anonymous_bytes = std::max(memory.anonymous_bytes, status_bytes(agent->pid(), "RssAnon"));
    const auto ended = agent->wait(milliseconds(2));
    if (!ended) return std::unexpected(ended.error());
    if (*ended) return memory;
  }
}

Result<std::vector<double>> measure_promotions(int wanted) {
  constexpr std::size_t kAtOnce = 32;
  const test::Namespace left;
  const test::Namespace right;
  for (const test::Namespace* ns : {&left, &right}) ns->sysctl("ipv6/conf/default/disable_ipv6", "1");
  left.ip("link add e0 type veth peer name f0 netns " + right.path() +
          "\naddr add 10.0.4.1/24 dev e0\nlink set e0 up\n"
          "neigh add 10.0.4.2 lladdr 02:00:00:00:00:99 dev e0 nud permanent\n");
  right.ip("link set f0 up\n");
  const sys::SystemClock clock;
  observe::FlowRequest request;
  request.elephants = {.bytes = 50'000, .rate_bps = 1e6, .sustained = milliseconds(100)};
  request.read_config = []() -> Result<model::HostConfig> { return model::HostConfig{}; };
  auto watch = observe::FlowWatch::start(request, clock);
  if (!watch) return pass(std::move(watch));

  std::map<std::uint16_t, nanoseconds> told;
  std::atomic<std::size_t> seen = 0;
  std::atomic<bool> over = false;
  std::thread agent([&] {
    const auto tell = [&](const model::FlowEvent& event, const model::DeviceRef&) {
      if (event.kind != model::FlowEvent::Kind::promoted || event.key.netns != left.id()) return;
      if (told.emplace(event.key.tuple.destination_port, clock.monotonic()).second) ++seen;
    };
    while (!over && watch->poll(milliseconds(100), tell)) {
    }
  });
  std::vector<double> latency_us;
  std::vector<std::pair<std::uint16_t, Flow>> crossed;
  Sender sender(left, request.elephants);
  for (std::uint16_t first = kFirstPort; static_cast<int>(crossed.size()) < wanted; first += kAtOnce) {
    std::vector<Flow> flows(kAtOnce);
    sender.cross(first, flows);
    for (std::size_t i = 0; i < flows.size(); ++i) crossed.emplace_back(first + i, flows[i]);
  }
  const bool all = sys::poll_until(std::chrono::steady_clock::now() + std::chrono::seconds(5),
                                   [&] { return seen == crossed.size(); });
  over = true;
  agent.join();
  if (!all) return fail(Errc::failed, fmt::format("{} of {} promotions were told", seen.load(), crossed.size()));
  for (const auto& [port, flow] : crossed) {
    latency_us.push_back(static_cast<double>((told.at(port) - flow.crossed).count()) / 1e3);
  }
  return latency_us;
}

}  // namespace weir::bench
