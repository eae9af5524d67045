#include "observe/trace/nft/message.h"

#include <arpa/inet.h>
#include <endian.h>
#include <fmt/format.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

namespace weir::observe {

namespace {

using sys::Attributes;
using sys::AttrKind;
using sys::AttrRule;

// Of Linux 6.16; headers of older ones end before.
constexpr std::uint16_t kTraceCtId = 18;
constexpr std::uint16_t kTraceCtDirection = 19;
constexpr std::uint16_t kTraceCtStatus = 20;
constexpr std::uint16_t kTraceCtState = 21;

constexpr std::array<AttrRule, 19> kTracePolicy{{{NFTA_TRACE_TABLE, AttrKind::string},
                                                 {NFTA_TRACE_CHAIN, AttrKind::string},
                                                 {NFTA_TRACE_RULE_HANDLE, AttrKind::u64},
                                                 {NFTA_TRACE_TYPE, AttrKind::u32},
                                                 {NFTA_TRACE_VERDICT, AttrKind::nested},
                                                 {NFTA_TRACE_ID, AttrKind::u32},
                                                 {NFTA_TRACE_LL_HEADER, AttrKind::binary},
                                                 {NFTA_TRACE_NETWORK_HEADER, AttrKind::binary},
                                                 {NFTA_TRACE_TRANSPORT_HEADER, AttrKind::binary},
                                                 {NFTA_TRACE_IIF, AttrKind::u32},
                                                 {NFTA_TRACE_OIF, AttrKind::u32},
                                                 {NFTA_TRACE_MARK, AttrKind::u32},
                                                 {NFTA_TRACE_NFPROTO, AttrKind::u32},
                                                 {NFTA_TRACE_POLICY, AttrKind::u32},
                                                 {kTraceCtId, AttrKind::u32},
                                                 {kTraceCtDirection, AttrKind::u8},
                                                 {kTraceCtStatus, AttrKind::u32},
                                                 {kTraceCtState, AttrKind::u32},
                                                 {NFTA_TRACE_IIFTYPE, AttrKind::u16}}};
constexpr std::array<AttrRule, 2> kVerdictPolicy{
    {{NFTA_VERDICT_CODE, AttrKind::u32}, {NFTA_VERDICT_CHAIN, AttrKind::string}}};

/// nftables writes its numbers in network order.
std::uint32_t u32_of(const Attributes& attributes, std::uint16_t type) {
  return ntohl(attributes.u32(type).value_or(0));
}

const char* family_name(std::uint8_t family) {
  switch (family) {
    case NFPROTO_INET:
      return "inet";
    case NFPROTO_IPV4:
      return "ip";
    case NFPROTO_IPV6:
      return "ip6";
    case NFPROTO_ARP:
      return "arp";
    case NFPROTO_NETDEV:
      return "netdev";
    case NFPROTO_BRIDGE:
      return "bridge";
    default:
      return "";
  }
}

std::string verdict_text(std::uint32_t code, std::string_view chain) {
  switch (static_cast<std::int32_t>(code)) {
    case NFT_CONTINUE:
      return "continue";
    case NFT_BREAK:
      return "break";
    case NFT_JUMP:
      return fmt::format("jump {}", chain);
    case NFT_GOTO:
      return fmt::format("goto {}", chain);
    case NFT_RETURN:
      return "return";
    default:
      break;
  }
  // Above the verdict stand an errno or the number of a queue.
  switch (code & NF_VERDICT_MASK) {
    case NF_DROP:
      return "drop";
    case NF_ACCEPT:
      return "accept";
    case NF_STOLEN:
      return "stolen";
    case NF_QUEUE:
      return "queue";
    default:
      return fmt::format("verdict {}", static_cast<std::int32_t>(code));
  }
}

Result<model::NftVerdict> read_verdict(const Attributes& attributes, std::uint8_t family) {
  model::NftVerdict verdict;
  verdict.family = family_name(family);
  verdict.table = attributes.string(NFTA_TRACE_TABLE);
  verdict.chain = attributes.string(NFTA_TRACE_CHAIN);
  verdict.handle = be64toh(attributes.u64(NFTA_TRACE_RULE_HANDLE).value_or(0));
  const std::uint32_t type = u32_of(attributes, NFTA_TRACE_TYPE);
  if (type == NFT_TRACETYPE_POLICY) {
    verdict.type = "policy";
    verdict.verdict = verdict_text(u32_of(attributes, NFTA_TRACE_POLICY), {});
    return verdict;
  }
  if (type != NFT_TRACETYPE_RULE && type != NFT_TRACETYPE_RETURN) {
    return fail(Errc::failed, fmt::format("nftables trace message of unknown type {}", type));
  }
  verdict.type = type == NFT_TRACETYPE_RULE ? "rule" : "return";
  auto nest = attributes.nested(NFTA_TRACE_VERDICT, kVerdictPolicy);
  if (!nest) return pass(std::move(nest));
  // The end of a chain is a return by nobody's rule; what the nest says then is how the walk goes on.
  verdict.verdict = type == NFT_TRACETYPE_RETURN && verdict.handle == 0
                        ? "return"
                        : verdict_text(u32_of(*nest, NFTA_VERDICT_CODE), nest->string(NFTA_VERDICT_CHAIN));
  return verdict;
}

std::vector<std::byte> copy(std::span<const std::byte> bytes) {
  return {bytes.begin(), bytes.end()};
}

}  // namespace

bool is_nft_trace(const sys::NetlinkMessage& message) {
  return message.type() == ((NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_TRACE);
}

Result<NftTraceMessage> parse_nft_trace(const sys::NetlinkMessage& message) {
  auto family = message.fixed<nfgenmsg>();
  if (!family) return pass(std::move(family));
  auto attributes = message.attributes<nfgenmsg>(kTracePolicy);
  if (!attributes) return pass(std::move(attributes), "nftables trace message");
  if (!attributes->has(NFTA_TRACE_ID) || !attributes->has(NFTA_TRACE_TYPE)) {
    return fail(Errc::failed, "nftables trace message without id or type");
  }
  auto verdict = read_verdict(*attributes, family->nfgen_family);
  if (!verdict) return pass(std::move(verdict));
  NftTraceMessage trace;
  trace.id = u32_of(*attributes, NFTA_TRACE_ID);
  trace.verdict = std::move(*verdict);
  trace.nfproto = static_cast<std::uint8_t>(u32_of(*attributes, NFTA_TRACE_NFPROTO));
  trace.mark = u32_of(*attributes, NFTA_TRACE_MARK);
  trace.has_packet = attributes->has(NFTA_TRACE_NETWORK_HEADER);
  trace.packet = {.link = copy(attributes->bytes(NFTA_TRACE_LL_HEADER)),
                  .network = copy(attributes->bytes(NFTA_TRACE_NETWORK_HEADER)),
                  .transport = copy(attributes->bytes(NFTA_TRACE_TRANSPORT_HEADER)),
                  .iif = u32_of(*attributes, NFTA_TRACE_IIF),
                  .oif = u32_of(*attributes, NFTA_TRACE_OIF)};
  if (attributes->has(kTraceCtState)) {
    trace.ct = NftConntrack{.id = u32_of(*attributes, kTraceCtId),
                            .state = u32_of(*attributes, kTraceCtState),
                            .status = u32_of(*attributes, kTraceCtStatus),
                            .direction = attributes->u8(kTraceCtDirection).value_or(0)};
  }
  return trace;
}

bool NftHeaderCarrier::complete(NftTraceMessage& message) {
  const auto found = known_.find(message.id);
  if (message.has_packet) {
    if (found != known_.end()) {
      found->second = message.packet;
      return true;
    }
    if (known_.size() >= kPackets) known_.erase(order_[next_]);
    order_[next_] = message.id;
    next_ = (next_ + 1) % kPackets;
    known_.emplace(message.id, message.packet);
    return true;
  }
  if (found == known_.end()) return false;
  message.packet = found->second;
  message.has_packet = true;
  return true;
}

}  // namespace weir::observe
