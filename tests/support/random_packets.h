// Packets that resemble real ones, and filters on them, drawn by seed.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace weir::test {

using Packet = std::vector<std::uint8_t>;

class PacketDice {
 public:
  explicit PacketDice(std::uint64_t seed) : random_(seed) {}

  std::uint64_t below(std::uint64_t bound) { return random_() % bound; }
  bool one_in(std::uint64_t n) { return below(n) == 0; }

  /// From an Ethernet header on, or from the network header on; cut short or garbled once in a while.
  Packet packet(bool with_link) {
    Packet out;
    const bool v6 = one_in(3);
    std::uint16_t type = v6 ? 0x86dd : 0x0800;
    if (one_in(12)) type = one_in(2) ? 0x0806 : static_cast<std::uint16_t>(below(65536));
    if (with_link) {
      for (int i = 0; i < 12; ++i) out.push_back(static_cast<std::uint8_t>(i % 6 == 0 && one_in(4) ? 0xff : below(4)));
      for (std::uint64_t tags = one_in(4) ? 1 + below(2) : 0; tags > 0; --tags) {
        put16(out, one_in(3) ? 0x88a8 : 0x8100);
        put16(out, static_cast<std::uint16_t>(below(16)));
      }
      put16(out, type);
    }
    if (v6) {
      add_ipv6(out);
    } else {
      add_ipv4(out);
    }
    if (one_in(8)) out.resize(below(out.size() + 1));
    if (one_in(8) && !out.empty()) out[below(out.size())] = static_cast<std::uint8_t>(below(256));
    return out;
  }

  /// An expression in the language of tcpdump; some do not compile for packets without a link header.
  std::string expression(int depth = 3) {
    if (depth == 0 || one_in(3)) return primitive();
    const std::string left = expression(depth - 1);
    switch (below(4)) {
      case 0:
        return "not (" + left + ")";
      case 1:
        return "(" + left + ") or (" + expression(depth - 1) + ")";
      default:
        return "(" + left + ") and (" + expression(depth - 1) + ")";
    }
  }

 private:
  static void put16(Packet& out, std::uint16_t value) {
    out.push_back(static_cast<std::uint8_t>(value >> 8));
    out.push_back(static_cast<std::uint8_t>(value));
  }
  std::uint16_t port() {
    constexpr std::uint16_t kPorts[] = {22, 53, 80, 443, 4789, 8080};
    return one_in(3) ? static_cast<std::uint16_t>(below(65536)) : kPorts[below(6)];
  }
  std::uint8_t protocol() {
    constexpr std::uint8_t kProtocols[] = {1, 6, 6, 17, 17, 58, 132, 50, 4, 41};
    return kProtocols[below(10)];
  }

  void add_ipv4(Packet& out) {
    const auto words = static_cast<std::uint8_t>(one_in(6) ? 5 + below(11) : 5);
    const std::uint8_t proto = protocol();
    out.push_back(static_cast<std::uint8_t>(0x40 | words));
    out.push_back(static_cast<std::uint8_t>(below(4)));
    put16(out, static_cast<std::uint16_t>(40 + below(1000)));
    put16(out, static_cast<std::uint16_t>(below(65536)));
    put16(out, static_cast<std::uint16_t>(one_in(6) ? below(65536) : 0x4000));  // fragments, too
    out.push_back(static_cast<std::uint8_t>(1 + below(64)));
    out.push_back(proto);
    put16(out, 0);
    for (int i = 0; i < 2; ++i) {
      out.insert(out.end(), {10, 0, static_cast<std::uint8_t>(below(2)), static_cast<std::uint8_t>(1 + below(3))});
    }
    for (int i = 20; i < 4 * words; ++i) out.push_back(1);
    add_transport(out);
  }

  void add_ipv6(Packet& out) {
    out.insert(out.end(), {0x60, 0, 0, 0});
    put16(out, static_cast<std::uint16_t>(20 + below(1000)));
    const bool fragment = one_in(8);
    const std::uint8_t proto = protocol();
    out.push_back(fragment ? 44 : proto);
    out.push_back(64);
    for (int i = 0; i < 2; ++i) {
      out.insert(out.end(), {0x20, 0x01, 0x0d, 0xb8});
      for (int j = 0; j < 11; ++j) out.push_back(0);
      out.push_back(static_cast<std::uint8_t>(1 + below(3)));
    }
    if (fragment) out.insert(out.end(), {proto, 0, 0, static_cast<std::uint8_t>(below(256)), 0, 0, 0, 1});
    add_transport(out);
  }

  void add_transport(Packet& out) {
    put16(out, port());
    put16(out, port());
    for (int i = 0; i < 8; ++i) out.push_back(static_cast<std::uint8_t>(below(4)));
    out.push_back(0x50);
    out.push_back(static_cast<std::uint8_t>(below(64)));  // TCP flags
    for (std::uint64_t left = below(64); left > 0; --left) out.push_back(static_cast<std::uint8_t>(below(256)));
  }

  std::string primitive() {
    const std::string host = "10.0." + std::to_string(below(2)) + "." + std::to_string(1 + below(3));
    const std::string host6 = "2001:db8::" + std::to_string(1 + below(3));
    const std::string some_port = std::to_string(port());
    const char* side[] = {"", "src ", "dst "};
    switch (below(24)) {
      case 0:
        return "tcp";
      case 1:
        return "udp";
      case 2:
        return "icmp or icmp6";
      case 3:
        return "ip";
      case 4:
        return "ip6";
      case 5:
        return "arp";
      case 6:
        return std::string(side[below(3)]) + "host " + host;
      case 7:
        return std::string(side[below(3)]) + "host " + host6;
      case 8:
        return std::string(side[below(3)]) + "net 10.0." + std::to_string(below(2)) + ".0/24";
      case 9:
        return std::string(side[below(3)]) + "net 2001:db8::/" + std::to_string(1 + below(128));
      case 10:
        return std::string(side[below(3)]) + "port " + some_port;
      case 11:
        return "tcp " + std::string(side[below(3)]) + "port " + some_port;
      case 12:
        return "udp portrange 1-" + std::to_string(1 + below(10000));
      case 13:
        return "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0";
      case 14:
        return "ip[6:2] & 0x1fff != 0";
      case 15:
        return "less " + std::to_string(40 + below(100));
      case 16:
        return "greater " + std::to_string(40 + below(100));
      case 17:
        return "vlan " + std::to_string(below(4));
      case 18:
        return "ether broadcast";
      case 19:
        return "ip proto " + std::to_string(protocol());
      case 20:
        return "ip[" + std::to_string(below(40)) + "] " + "<>="[below(3)] + " " + std::to_string(below(256));
      case 21:
        return "(ip[2:2] - ((ip[0]&0xf)<<2)) " + std::string(one_in(2) ? "/ ip[1]" : "% 7") + " != 0";
      case 22:
        return "ip[8] * 3 + len > " + std::to_string(below(400)) + " and ip[1] << ip[8] != 4";
      default:
        return "sctp or ip6 proto 44";
    }
  }

  std::mt19937_64 random_;
};

}  // namespace weir::test
