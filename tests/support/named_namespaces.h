// Namespaces with names, which the program under test finds by itself, and a network of them that translates.
#pragma once

#include <fmt/format.h>

#include <atomic>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "netns/netns.h"
#include "support/process.h"

namespace weir::test {

/// A namespace with a name: the command looks for those that people can name.
class Named {
 public:
  explicit Named(const std::string& role) {
    static std::atomic<int> next{0};
    name_ = "weir-cx" + std::to_string(::getpid()) + "-" + std::to_string(next++) + role;
    auto made = netns::Netns::create_named(name_);
    if (!made) throw std::runtime_error(made.error().message);
    ns_ = *std::move(made);
    for (const char* sysctl : {"net/ipv6/conf/default/accept_dad", "net/ipv6/conf/all/accept_dad"})
      static_cast<void>(netns::write_sysctl(*ns_, sysctl, "0"));
  }
  Named(const Named&) = delete;
  Named& operator=(const Named&) = delete;
  ~Named() { vanish(); }
  /// Loses its name, and with it itself.
  void vanish() {
    if (!ns_) return;
    ns_.reset();
    static_cast<void>(netns::Netns::remove_named(name_));
  }
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const netns::Netns& netns() const { return *ns_; }
  [[nodiscard]] Outcome run(std::vector<std::string> command) const {
    std::vector<std::string> all{"ip", "netns", "exec", name_};
    all.insert(all.end(), command.begin(), command.end());
    return weir::test::run(std::move(all));
  }
  void sh(const std::string& script) const {
    const Outcome done = run({"sh", "-ec", script});
    if (done.code != 0) throw std::runtime_error(script + ": " + done.err);
  }

 private:
  std::string name_;
  std::optional<netns::Netns> ns_;
};

inline void pair(const Named& a, const std::string& dev_a, const Named& b, const std::string& dev_b) {
  a.sh(fmt::format("ip link add {0} type veth peer name {1} netns {2}; ip link set {0} up", dev_a, dev_b, b.name()));
  b.sh(fmt::format("ip link set {} up", dev_b));
}

/// client eth0 -- pod0 router up0 -- eth0 server; 10.99.0.1:80 and [fd99::1]:80 lead to the server's port 7000.
class Translated {
 public:
  explicit Translated(const std::string& zone = {}) {
    pair(client, "eth0", router, "pod0");
    pair(router, "up0", server, "eth0");
    client.sh(
        "ip addr add 10.9.1.2/24 dev eth0; ip addr add fd09:1::2/64 dev eth0 nodad; ip route add default via 10.9.1.1;"
        "ip -6 route add default via fd09:1::1");
    router.sh(
        "ip addr add 10.9.1.1/24 dev pod0; ip addr add fd09:1::1/64 dev pod0 nodad; ip addr add 10.9.2.1/24 dev up0;"
        "ip addr add fd09:2::1/64 dev up0 nodad; echo 1 > /proc/sys/net/ipv4/ip_forward;"
        "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding");
    server.sh("ip addr add 10.9.2.2/24 dev eth0; ip addr add fd09:2::2/64 dev eth0 nodad");
    router.sh(fmt::format(R"(nft -f - <<'R'
table inet t {{
  chain zone {{ type filter hook prerouting priority raw; {} }}
  chain pre {{
    type nat hook prerouting priority dstnat;
    ip daddr 10.99.0.1 tcp dport 80 dnat ip to 10.9.2.2:7000
    ip daddr 10.99.0.1 udp dport 80 dnat ip to 10.9.2.2:7000
    ip6 daddr fd99::1 tcp dport 80 dnat ip6 to [fd09:2::2]:7000
  }}
  chain post {{ type nat hook postrouting priority srcnat; oifname "up0" masquerade; }}
}}
R)",
                          zone));
  }
  Named client{"-c"};
  Named router{"-r"};
  Named server{"-s"};
};

}  // namespace weir::test
