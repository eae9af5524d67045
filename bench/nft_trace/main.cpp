// What switching nftables' rule trace on costs a packet: CPU time of a sender whose packets are forwarded by a host and
// dropped there by a rule, in alternating rounds, so that what else the machine does falls on all alike.
#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <optional>
#include <string>
#include <vector>

#include "lab/lab.h"
#include "lab/traffic/endpoint.h"
#include "netns/netns.h"
#include "observe/trace/nft/reader.h"
#include "observe/trace/nft/switch.h"

namespace {

using namespace weir;  // NOLINT(google-build-using-namespace): a program, not a header
using observe::NftTraceMessage;
using observe::NftTraceOptions;
using observe::NftTraceReader;
using observe::NftTraceSwitch;

constexpr int kRounds = 11;
constexpr int kPackets = 20'000;
// Softirqs run in the sender's own time as long as it sends one packet at a time, and the reader's socket never fills.
constexpr int kBetweenReads = 500;

struct Setting {
  const char* name;
  bool on;
  bool listen;
  const char* address;  ///< of the packets that are traced; empty: any
  std::uint32_t per_second;
};

struct Measured {
  std::vector<double> ns;  ///< CPU time a packet, one a round
  std::uint64_t messages = 0;
  std::uint64_t overruns = 0;
};

double cpu_ns() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

Result<void> run_round(const netns::Netns& host, int socket, const Setting& setting, Measured& measured) {
  std::optional<NftTraceReader> reader;
  std::optional<NftTraceSwitch> on;
  if (setting.listen) {
    auto opened = NftTraceReader::open(host);
    if (!opened) return pass(std::move(opened));
    reader.emplace(std::move(*opened));
  }
  if (setting.on) {
    NftTraceOptions options;
    options.address = setting.address;
    options.per_second = setting.per_second;
    auto switched = NftTraceSwitch::on(host, options);
    if (!switched) return pass(std::move(switched));
    on.emplace(std::move(*switched));
  }
  const std::array<char, 120> payload{};
  double spent_ns = 0;
  for (int sent = 0; sent < kPackets; sent += kBetweenReads) {
    const double before_ns = cpu_ns();
    for (int i = 0; i < kBetweenReads; ++i) send(socket, payload.data(), payload.size(), MSG_DONTWAIT);
    spent_ns += cpu_ns() - before_ns;
    if (!reader) continue;
    auto got = reader->read([](const NftTraceMessage&) {});
    if (!got) return pass(std::move(got));
    measured.messages += *got;
  }
  measured.ns.push_back(spent_ns / kPackets);
  if (reader) measured.overruns += reader->overruns();
  return {};
}

Result<void> measure() {
  lab::Options options;
  options.prefix = fmt::format("wbn{}-", getpid());
  auto lab = lab::Lab::up("nft-drop", options);
  if (!lab) return pass(std::move(lab));
  auto host = netns::Netns::open(lab->blueprint().at("host").name);
  auto pod = netns::Netns::open(lab->blueprint().at("pod").name);
  if (!host || !pod) return fail(Errc::failed, "the lab's namespaces are gone");
  const lab::ExpectedJourney& dropped =
      *std::ranges::find(lab->blueprint().journeys, "dropped-udp", &lab::ExpectedJourney::name);
  auto to = lab::parse_endpoint(dropped.destination, dropped.port);
  auto socket = netns::open_socket(*pod, AF_INET, SOCK_DGRAM, 0);
  if (!to || !socket || connect(socket->get(), to->get(), to->size) != 0) return fail(Errc::failed, "no socket");

  constexpr std::array<Setting, 5> settings{{{"off", false, false, "", 0},
                                             {"on, another address", true, true, "192.0.2.1", 0},
                                             {"on, nobody listens", true, false, "", 0},
                                             {"on, 1000 packets a second", true, true, "", 1000},
                                             {"on, all packets", true, true, "", 0}}};
  std::vector<Measured> measured(settings.size());
  for (int round = 0; round < kRounds; ++round) {
    for (std::size_t i = 0; i < settings.size(); ++i) {
      if (auto ok = run_round(*host, socket->get(), settings[i], measured[i]); !ok) return ok;
    }
  }
  fmt::print("{:<28} {:>8} {:>10} {:>12} {:>8}\n", "NFTABLES TRACE", "MIN NS", "MEDIAN NS", "MESSAGES/PKT", "OVERRUNS");
  for (std::size_t i = 0; i < settings.size(); ++i) {
    std::ranges::sort(measured[i].ns);
    fmt::print("{:<28} {:>8.0f} {:>10.0f} {:>12.2f} {:>8}\n", settings[i].name, measured[i].ns.front(),
               measured[i].ns[kRounds / 2], static_cast<double>(measured[i].messages) / (kRounds * kPackets),
               measured[i].overruns);
  }
  return {};
}

}  // namespace

int main() {
  const Result<void> done = measure();
  if (!done) fmt::print(stderr, "nft_trace: {}\n", done.error().message);
  return done ? 0 : 1;
}
