#include "observe/trace/nft/switch.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <unistd.h>

#include <array>

#include "observe/trace/nft/rules.h"

namespace weir::observe {

namespace {

using sys::NetlinkRequest;

constexpr std::string_view kTablePrefix = "weir_trace_";
constexpr const char* kMarkChain = "mark";
// In front of every chain at the usual priorities, raw (-300) the first of them, and behind the reassembly of
// fragments (-400).
constexpr std::int32_t kPriority = -301;

struct HookChain {
  const char* name;
  std::uint32_t hook;
};
/// Every packet of a namespace enters by one of these.
constexpr std::array<HookChain, 2> kHookChains{{{"prerouting", NF_INET_PRE_ROUTING}, {"output", NF_INET_LOCAL_OUT}}};

NetlinkRequest batch_edge(std::uint16_t type) {
  nfgenmsg family{};
  family.nfgen_family = AF_UNSPEC;
  family.version = NFNETLINK_V0;
  family.res_id = htons(NFNL_SUBSYS_NFTABLES);
  return {type, 0, family};
}

NetlinkRequest command(std::uint16_t type, std::uint16_t flags) {
  nfgenmsg family{};
  family.nfgen_family = NFPROTO_INET;
  family.version = NFNETLINK_V0;
  return {static_cast<std::uint16_t>((NFNL_SUBSYS_NFTABLES << 8) | type), static_cast<std::uint16_t>(flags | NLM_F_ACK),
          family};
}

NetlinkRequest new_table(const std::string& table) {
  NetlinkRequest request = command(NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL);
  request.string(NFTA_TABLE_NAME, table).u32(NFTA_TABLE_FLAGS, htonl(NFT_TABLE_F_OWNER));
  return request;
}

NetlinkRequest new_chain(const std::string& table, const char* name) {
  NetlinkRequest request = command(NFT_MSG_NEWCHAIN, NLM_F_CREATE);
  request.string(NFTA_CHAIN_TABLE, table).string(NFTA_CHAIN_NAME, name);
  return request;
}

NetlinkRequest new_hook_chain(const std::string& table, const HookChain& chain) {
  NetlinkRequest request = new_chain(table, chain.name);
  request.nest(NFTA_CHAIN_HOOK, [&](NetlinkRequest& hook) {
    hook.u32(NFTA_HOOK_HOOKNUM, htonl(chain.hook));
    hook.u32(NFTA_HOOK_PRIORITY, htonl(static_cast<std::uint32_t>(kPriority)));
  });
  request.string(NFTA_CHAIN_TYPE, "filter").u32(NFTA_CHAIN_POLICY, htonl(NF_ACCEPT));
  return request;
}

NetlinkRequest new_rule(const std::string& table, const char* chain, const NftRule& rule) {
  NetlinkRequest request = command(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
  request.string(NFTA_RULE_TABLE, table).string(NFTA_RULE_CHAIN, chain);
  request.nest(NFTA_RULE_EXPRESSIONS, [&](NetlinkRequest& list) {
    for (const NftPiece& piece : rule) piece.put(list);
  });
  return request;
}

std::string own_table() {
  return fmt::format("{}{}", kTablePrefix, getpid());
}

bool exists(sys::NetlinkSocket& socket, const std::string& table) {
  NetlinkRequest request = command(NFT_MSG_GETTABLE, 0);
  request.string(NFTA_TABLE_NAME, table);
  return socket.request(request, "asking for a table").has_value();
}

/// An error of the kernel in the classes of on().
Error classified(Error error) {
  switch (error.sys_errno) {
    case EOPNOTSUPP:
    case EINVAL:
    case ENOENT:
    case EPROTONOSUPPORT:
      error.code = Errc::unsupported;
      error.hint = "tracing nftables rules needs nf_tables and Linux 5.12, whose tables vanish with their owner";
      return error;
    default:
      return error;
  }
}

}  // namespace

Result<NftTraceSwitch> NftTraceSwitch::on(const netns::Netns& ns, const NftTraceOptions& options) {
  auto rules = matching_rules(options, kMarkChain);
  if (!rules) return pass(std::move(rules));
  auto socket = netns::open_netlink(ns, NETLINK_NETFILTER);
  if (!socket) return std::unexpected(classified(std::move(socket).error()));
  const std::string table = own_table();
  std::vector<NetlinkRequest> messages;
  messages.push_back(batch_edge(NFNL_MSG_BATCH_BEGIN));
  messages.push_back(new_table(table));
  messages.push_back(new_chain(table, kMarkChain));
  messages.push_back(new_rule(table, kMarkChain, marking_rule(options)));
  for (const HookChain& chain : kHookChains) {
    messages.push_back(new_hook_chain(table, chain));
    for (const NftRule& rule : *rules) messages.push_back(new_rule(table, chain.name, rule));
  }
  messages.push_back(batch_edge(NFNL_MSG_BATCH_END));
  if (auto done = socket->batch(messages, "switching nftables tracing on"); !done) {
    const int err = done.error().sys_errno;
    // To touch another owner's table is not permitted, as everything is not without rights.
    if (err == EEXIST || (err == EPERM && exists(*socket, table))) {
      return fail(Errc::busy, fmt::format("the nftables table '{}' exists already", table));
    }
    return std::unexpected(classified(std::move(done).error()));
  }
  return NftTraceSwitch(std::move(*socket), table);
}

Result<std::string> NftTraceSwitch::plan(const NftTraceOptions& options) {
  auto rules = matching_rules(options, kMarkChain);
  if (!rules) return pass(std::move(rules));
  std::string text = fmt::format("table inet {} {{\n  flags owner\n  chain {} {{\n    {}\n  }}\n", own_table(),
                                 kMarkChain, to_text(marking_rule(options)));
  for (const HookChain& chain : kHookChains) {
    text += fmt::format("  chain {} {{\n    type filter hook {} priority {}; policy accept;\n", chain.name, chain.name,
                        kPriority);
    for (const NftRule& rule : *rules) text += fmt::format("    {}\n", to_text(rule));
    text += "  }\n";
  }
  return text + "}\n";
}

bool NftTraceSwitch::is_own_table(std::string_view table) {
  return table.starts_with(kTablePrefix);
}

}  // namespace weir::observe
