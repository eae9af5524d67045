#include "observe/trace/nft/rules.h"

#include <arpa/inet.h>
#include <endian.h>
#include <fmt/format.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <netinet/in.h>

#include <array>
#include <cstring>

namespace weir::observe {

namespace {

using sys::NetlinkRequest;

void put_be32(NetlinkRequest& request, std::uint16_t type, std::uint32_t value) {
  request.u32(type, htonl(value));
}

void put_be64(NetlinkRequest& request, std::uint16_t type, std::uint64_t value) {
  const std::uint64_t big = htobe64(value);
  request.put(type, &big, sizeof big);
}

/// One expression of a rule: its name and what `fill` puts into it.
template <class Fill>
void put_expression(NetlinkRequest& request, const char* name, Fill&& fill) {
  request.nest(NFTA_LIST_ELEM, [&](NetlinkRequest& element) {
    element.string(NFTA_EXPR_NAME, name);
    element.nest(NFTA_EXPR_DATA, fill);
  });
}

void put_equals(NetlinkRequest& request, const std::vector<std::uint8_t>& value) {
  put_expression(request, "cmp", [&](NetlinkRequest& data) {
    put_be32(data, NFTA_CMP_SREG, NFT_REG_1);
    put_be32(data, NFTA_CMP_OP, NFT_CMP_EQ);
    data.nest(NFTA_CMP_DATA, [&](NetlinkRequest& nest) { nest.put(NFTA_DATA_VALUE, value.data(), value.size()); });
  });
}

NftPiece meta_equals(std::string text, std::uint32_t key, std::uint8_t value) {
  return {std::move(text), [key, value](NetlinkRequest& request) {
            put_expression(request, "meta", [&](NetlinkRequest& data) {
              put_be32(data, NFTA_META_KEY, key);
              put_be32(data, NFTA_META_DREG, NFT_REG_1);
            });
            put_equals(request, {value});
          }};
}

NftPiece payload_equals(std::string text, std::uint32_t base, std::uint32_t offset, std::vector<std::uint8_t> value) {
  return {std::move(text), [base, offset, value = std::move(value)](NetlinkRequest& request) {
            put_expression(request, "payload", [&](NetlinkRequest& data) {
              put_be32(data, NFTA_PAYLOAD_DREG, NFT_REG_1);
              put_be32(data, NFTA_PAYLOAD_BASE, base);
              put_be32(data, NFTA_PAYLOAD_OFFSET, offset);
              put_be32(data, NFTA_PAYLOAD_LEN, static_cast<std::uint32_t>(value.size()));
            });
            put_equals(request, value);
          }};
}

NftPiece jump(const std::string& chain) {
  return {"jump " + chain, [chain](NetlinkRequest& request) {
            put_expression(request, "immediate", [&](NetlinkRequest& data) {
              put_be32(data, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
              data.nest(NFTA_IMMEDIATE_DATA, [&](NetlinkRequest& value) {
                value.nest(NFTA_DATA_VERDICT, [&](NetlinkRequest& verdict) {
                  put_be32(verdict, NFTA_VERDICT_CODE, static_cast<std::uint32_t>(NFT_JUMP));
                  verdict.string(NFTA_VERDICT_CHAIN, chain);
                });
              });
            });
          }};
}

NftPiece at_most(std::uint32_t per_second) {
  return {fmt::format("limit rate {}/second", per_second), [per_second](NetlinkRequest& request) {
            put_expression(request, "limit", [&](NetlinkRequest& data) {
              put_be64(data, NFTA_LIMIT_RATE, per_second);
              put_be64(data, NFTA_LIMIT_UNIT, 1);
              put_be32(data, NFTA_LIMIT_BURST, 5);  // what nft(8) writes
              put_be32(data, NFTA_LIMIT_TYPE, NFT_LIMIT_PKTS);
              put_be32(data, NFTA_LIMIT_FLAGS, 0);
            });
          }};
}

NftPiece set_nftrace() {
  return {"meta nftrace set 1", [](NetlinkRequest& request) {
            const std::uint8_t one = 1;
            put_expression(request, "immediate", [&](NetlinkRequest& data) {
              put_be32(data, NFTA_IMMEDIATE_DREG, NFT_REG_1);
              data.nest(NFTA_IMMEDIATE_DATA,
                        [&](NetlinkRequest& value) { value.put(NFTA_DATA_VALUE, &one, sizeof one); });
            });
            put_expression(request, "meta", [&](NetlinkRequest& data) {
              put_be32(data, NFTA_META_KEY, NFT_META_NFTRACE);
              put_be32(data, NFTA_META_SREG, NFT_REG_1);
            });
          }};
}

/// The alternatives of one condition; one empty alternative when there is no condition.
using Alternatives = std::vector<NftRule>;

Result<Alternatives> address_alternatives(const std::string& address) {
  if (address.empty()) return Alternatives{{}};
  std::vector<std::uint8_t> bytes(16);
  if (inet_pton(AF_INET, address.c_str(), bytes.data()) == 1) {
    bytes.resize(4);
    const NftPiece v4 = meta_equals("meta nfproto ipv4", NFT_META_NFPROTO, NFPROTO_IPV4);
    return Alternatives{{v4, payload_equals("ip saddr " + address, NFT_PAYLOAD_NETWORK_HEADER, 12, bytes)},
                        {v4, payload_equals("ip daddr " + address, NFT_PAYLOAD_NETWORK_HEADER, 16, bytes)}};
  }
  if (inet_pton(AF_INET6, address.c_str(), bytes.data()) == 1) {
    const NftPiece v6 = meta_equals("meta nfproto ipv6", NFT_META_NFPROTO, NFPROTO_IPV6);
    return Alternatives{{v6, payload_equals("ip6 saddr " + address, NFT_PAYLOAD_NETWORK_HEADER, 8, bytes)},
                        {v6, payload_equals("ip6 daddr " + address, NFT_PAYLOAD_NETWORK_HEADER, 24, bytes)}};
  }
  return fail(Errc::usage, fmt::format("'{}' is not an IP address", address));
}

bool has_ports(std::uint8_t protocol) {
  return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP || protocol == IPPROTO_DCCP ||
         protocol == IPPROTO_UDPLITE;
}

Result<Alternatives> transport_alternatives(const NftTraceOptions& options) {
  std::vector<std::uint8_t> protocols;
  if (options.protocol) {
    protocols = {*options.protocol};
  } else if (options.port) {
    protocols = {IPPROTO_TCP, IPPROTO_UDP};
  }
  if (protocols.empty()) return Alternatives{{}};
  Alternatives all;
  for (const std::uint8_t protocol : protocols) {
    if (options.port && !has_ports(protocol)) {
      return fail(Errc::usage, fmt::format("protocol {} has no ports", protocol));
    }
    const NftPiece l4 = meta_equals(fmt::format("meta l4proto {}", protocol), NFT_META_L4PROTO, protocol);
    if (!options.port) {
      all.push_back({l4});
      continue;
    }
    const std::vector<std::uint8_t> port{static_cast<std::uint8_t>(*options.port >> 8U),
                                         static_cast<std::uint8_t>(*options.port & 0xFFU)};
    for (const auto& [name, offset] : {std::pair{"sport", 0U}, std::pair{"dport", 2U}}) {
      all.push_back({l4, payload_equals(fmt::format("th {} {}", name, *options.port), NFT_PAYLOAD_TRANSPORT_HEADER,
                                        offset, port)});
    }
  }
  return all;
}

}  // namespace

Result<std::vector<NftRule>> matching_rules(const NftTraceOptions& options, const std::string& chain) {
  auto addresses = address_alternatives(options.address);
  if (!addresses) return pass(std::move(addresses));
  auto transports = transport_alternatives(options);
  if (!transports) return pass(std::move(transports));
  std::vector<NftRule> rules;
  for (const NftRule& address : *addresses) {
    for (const NftRule& transport : *transports) {
      NftRule rule = address;
      rule.insert(rule.end(), transport.begin(), transport.end());
      rule.push_back(jump(chain));
      rules.push_back(std::move(rule));
    }
  }
  return rules;
}

NftRule marking_rule(const NftTraceOptions& options) {
  if (options.per_second == 0) return {set_nftrace()};
  return {at_most(options.per_second), set_nftrace()};
}

std::string to_text(const NftRule& rule) {
  std::string text;
  for (const NftPiece& piece : rule) text += (text.empty() ? "" : " ") + piece.text;
  return text;
}

}  // namespace weir::observe
