// What one run of a packet filter costs in the kernel, by both ways to read packets, beside libpcap's own interpreter.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "observe/trace/filter/access.h"
#include "observe/trace/filter/bpf/filter_slot.h"
#include "observe/trace/filter/expression.h"
#include "observe/trace/filter/place.h"
#include "observe/trace/filter/translate.h"
#include "support/filter_host.h"
#include "support/libpcap_machine.h"

namespace {

using namespace weir;  // NOLINT(google-build-using-namespace): a program, not a header

constexpr int kRounds = 9;
constexpr int kRuns = 500'000;

/// SYN to 10.0.0.2:80 in an Ethernet frame.
std::vector<std::uint8_t> tcp_packet() {
  std::vector<std::uint8_t> packet{2, 0,  0,    0, 0,    1,  2,  0, 0, 0, 0,  2, 8, 0, 0x45, 0,
                                   0, 60, 0,    0, 0x40, 0,  64, 6, 0, 0, 10, 0, 0, 1, 10,   0,
                                   0, 2,  0x90, 1, 0,    80, 0,  0, 0, 0, 0,  0, 0, 0, 0x50, 2};
  packet.resize(74);
  return packet;
}

struct Timed {
  double minimum = 0;
  double median = 0;
};

Timed summary(std::vector<double> nanoseconds) {
  std::ranges::sort(nanoseconds);
  return {nanoseconds.front(), nanoseconds[nanoseconds.size() / 2]};
}

Result<test::FilterHost> host(const observe::ClassicProgram& classic, observe::PacketAccess access) {
  auto body = observe::translate(classic, access);
  if (!body) return pass(std::move(body));
  auto image = test::slot_image();
  if (auto placed = observe::place_filter(image, WEIR_FILTER_LINK, *body); !placed) return pass(std::move(placed));
  auto loaded = test::FilterHost::load(image);
  if (!loaded) return loaded;
  const auto packet = tcp_packet();
  if (auto set = loaded->set_packet(packet, static_cast<std::uint32_t>(packet.size())); !set)
    return pass(std::move(set));
  return loaded;
}

double in_kernel(test::FilterHost& filter) {
  return static_cast<double>(filter.run("link_wanted", kRuns)->duration.count());
}

double in_libpcap(const observe::ClassicProgram& classic) {
  const auto packet = tcp_packet();
  const auto program = test::LibpcapProgram(classic);
  std::uint32_t wanted = 0;
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < kRuns; ++i) wanted += program.run(packet, static_cast<std::uint32_t>(packet.size()));
  const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - start;
  return took.count() / kRuns + (wanted == 1 ? 1e-9 : 0);
}

/// Rounds alternate between all ways, so that what else the machine does meets all of them.
Result<void> measure(const std::string& expression, observe::PacketAccess best) {
  const auto classic = observe::compile_expression(expression, observe::PacketStart::link);
  if (!classic) return std::unexpected(classic.error());
  auto nothing = host({{0x06, 0, 0, 0}}, {});
  auto copying = host(*classic, {});
  auto quickest = host(*classic, best);
  for (const auto* loaded : {&nothing, &copying, &quickest}) {
    if (!*loaded) return std::unexpected(loaded->error());
  }
  std::vector<double> floor;
  std::vector<double> by_copy;
  std::vector<double> by_best;
  std::vector<double> by_libpcap;
  for (int round = 0; round < kRounds; ++round) {
    floor.push_back(in_kernel(*nothing));
    by_copy.push_back(in_kernel(*copying));
    by_best.push_back(in_kernel(*quickest));
    by_libpcap.push_back(in_libpcap(*classic));
  }
  const Timed empty = summary(floor);
  const auto cell = [](const Timed& timed, const Timed& less) {
    return fmt::format("{:6.1f} {:6.1f}", timed.minimum - less.minimum, timed.median - less.median);
  };
  fmt::print("{:<34} {}   {}   {}\n", expression, cell(summary(by_best), empty), cell(summary(by_copy), empty),
             cell(summary(by_libpcap), {}));
  return {};
}

}  // namespace

int main() {
  if (::geteuid() != 0) {
    fmt::print(stderr, "trace_filter: needs root\n");
    return 3;
  }
  const auto best = observe::best_packet_access();
  fmt::print(
      "ns a run on a TCP packet, minimum and median of {} rounds of {} runs; in the kernel over an empty filter\n",
      kRounds, kRuns);
  if (best.rdonly_cast == 0) fmt::print("This kernel has no other way than copying.\n");
  fmt::print("{:<34} {:>13}   {:>13}   {:>13}\n", "filter", "by address", "by copying", "libpcap's own");
  for (const char* expression : {"host 1.2.3.4 and tcp port 80", "tcp port 80", "tcp port 81", "udp port 53",
                                 "net 10.1.0.0/16", "ip6 and tcp port 443", "tcp[tcpflags] & tcp-syn != 0"}) {
    if (auto measured = measure(expression, best); !measured) {
      fmt::print(stderr, "{}: {}\n{}\n", expression, measured.error().message, measured.error().hint);
      return 1;
    }
  }
  return 0;
}
