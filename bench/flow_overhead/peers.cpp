#include "peers.h"

#include <fmt/format.h>

#include <fstream>
#include <sstream>

#include "base/text.h"

namespace weir::bench {

namespace {

std::string file_text(const std::filesystem::path& file) {
  std::ifstream in(file);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

/// "Packets processed: 18950"
std::optional<std::uint64_t> seen_by_softflowd(const std::filesystem::path& folder) {
  const std::string said = file_text(folder / "statistics");
  for (const std::string_view line : split(said, '\n')) {
    constexpr std::string_view kWords = "Packets processed:";
    if (line.starts_with(kWords)) return parse_u64(trim(line.substr(kWords.size())));
  }
  return std::nullopt;
}

/// "10.0.1.2,10.0.2.2,40000,9000,udp,PACKETS,BYTES"
std::optional<std::uint64_t> seen_by_pmacctd(const std::filesystem::path& folder) {
  const std::string said = file_text(folder / "said");
  std::uint64_t packets = 0;
  for (const std::string_view line : split(said, '\n')) {
    const std::vector<std::string_view> words = split(line, ',');
    if (words.size() == 7) packets += parse_u64(words[5]).value_or(0);
  }
  return packets;
}

/// "@rx[2, 33620234, 33685514, ...]: PACKETS", of the packets to the network's sink
std::optional<std::uint64_t> seen_by_bpftrace(const std::filesystem::path& folder) {
  const std::string said = file_text(folder / "said");
  std::uint64_t packets = 0;
  for (const std::string_view line : split(said, '\n')) {
    const std::size_t colon = line.rfind(": ");
    if (line.starts_with("@rx[") && line.find(", 33685514, ") != std::string_view::npos &&
        colon != std::string_view::npos)
      packets += parse_u64(trim(line.substr(colon + 2))).value_or(0);
  }
  return packets;
}

// bpftrace 0.17 looks for tracefs below debugfs; a host that has them mounted gets them over itself, unseen outside.
constexpr const char* kBpftrace = R"(mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null
mount -t tracefs tracefs /sys/kernel/debug/tracing 2>/dev/null
BPFTRACE_MAP_KEYS_MAX=65536 exec bpftrace -e '
tracepoint:net:net_dev_start_xmit {
  $skb = (struct sk_buff *)args->skbaddr;
  $ip = (struct iphdr *)($skb->head + $skb->network_header);
  $ports = (struct udphdr *)($skb->head + $skb->transport_header);
  @tx[$skb->dev->ifindex, $ip->saddr, $ip->daddr, $ports->source, $ports->dest, $ip->protocol] = count();
  @tx_bytes[$skb->dev->ifindex, $ip->saddr, $ip->daddr, $ports->source, $ports->dest, $ip->protocol] = sum(args->len);
}
tracepoint:net:netif_receive_skb {
  $skb = (struct sk_buff *)args->skbaddr;
  $ip = (struct iphdr *)($skb->head + $skb->network_header);
  $ports = (struct udphdr *)($skb->head + $skb->network_header + 20);
  @rx[$skb->dev->ifindex, $ip->saddr, $ip->daddr, $ports->source, $ports->dest, $ip->protocol] = count();
  @rx_bytes[$skb->dev->ifindex, $ip->saddr, $ip->daddr, $ports->source, $ports->dest, $ip->protocol] = sum(args->len);
}
interval:ms:100 { if (!@ready) { @ready = 1; printf("at work\n"); } }' > $D/said 2> $D/err)";

}  // namespace

std::vector<Tool> flow_peers(const std::string& device) {
  return {{.name = "softflowd",
           .what = "softflowd -i " + device + ", one of the devices",
           // Its numbers are asked for at its control socket, which the shell does when it is told to end.
           .script = fmt::format("trap 'softflowctl -c $D/ctl statistics > $D/statistics\n"
                                 "softflowctl -c $D/ctl exit > $D/end\nwait' INT\n"
                                 "command -v softflowd > $D/where || exit 127\n"
                                 "softflowd -i {} -d -m 65536 -p $D/pid -c $D/ctl > $D/said 2> $D/err &\nwait\nwait",
                                 device),
           .ready = "starting data collection",
           .counted = seen_by_softflowd},
          {.name = "pmacctd",
           .what = "pmacctd -P print by 5-tuple on " + device + ", one of the devices",
           .script = fmt::format("exec pmacctd -i {} -P print -O csv -r 1 "
                                 "-c src_host,dst_host,src_port,dst_port,proto > $D/said 2> $D/err",
                                 device),
           .ready = "cache entries",
           .counted = seen_by_pmacctd},
          {.name = "bpftrace",
           .what = "bpftrace: packets and bytes by device and 5-tuple at the same two hooks, IPv4 without options only",
           .script = kBpftrace,
           .ready = "at work",
           .has_programs = true,
           .counted = seen_by_bpftrace}};
}

}  // namespace weir::bench
