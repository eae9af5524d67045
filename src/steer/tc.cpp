#include "steer/tc.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <libmnl/libmnl.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/netlink.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <span>

namespace weir::steer {

namespace {

constexpr std::uint32_t kClsactHandle = TC_H_MAKE(TC_H_CLSACT, 0);
constexpr std::size_t kReceiveBytes = 64 * 1024;  // a dump's datagram is at most 32 KiB

std::uint32_t parent_of(TcHook hook) {
  return TC_H_MAKE(TC_H_CLSACT, hook == TcHook::ingress ? TC_H_MIN_INGRESS : TC_H_MIN_EGRESS);
}

/// A request being put together. Ours are small: a kilobyte holds the largest.
struct Request {
  alignas(NLMSG_ALIGNTO) std::array<char, 1024> bytes{};
  nlmsghdr* head;

  Request(std::uint16_t type, std::uint16_t flags) : head(mnl_nlmsg_put_header(bytes.data())) {
    head->nlmsg_type = type;
    head->nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
  }
  tcmsg* put_tc(IfIndex device, std::uint32_t parent) {
    auto* message = static_cast<tcmsg*>(mnl_nlmsg_put_extra_header(head, sizeof(tcmsg)));
    message->tcm_ifindex = static_cast<int>(device.value);
    message->tcm_parent = parent;
    return message;
  }
};

/// TC_H_MAKE(preference, protocol): what tcm_info of a filter holds.
std::uint32_t info_of(std::uint32_t preference) {
  return TC_H_MAKE(preference << 16, static_cast<std::uint32_t>(htons(ETH_P_ALL)));
}

/// The attributes at `first` within `end`, by type; those past `Count` are left out. Lengths are checked by libmnl.
template <std::size_t Count>
std::array<const nlattr*, Count> table(const nlattr* first, const char* end) {
  std::array<const nlattr*, Count> found{};
  for (const nlattr* at = first; mnl_attr_ok(at, static_cast<int>(end - reinterpret_cast<const char*>(at)));
       at = mnl_attr_next(at)) {
    const std::uint16_t type = mnl_attr_get_type(at);
    if (type < Count) found[type] = at;
  }
  return found;
}

template <std::size_t Count>
std::array<const nlattr*, Count> attributes(const nlmsghdr* message, std::size_t header_bytes) {
  return table<Count>(static_cast<const nlattr*>(mnl_nlmsg_get_payload_offset(message, header_bytes)),
                      static_cast<const char*>(mnl_nlmsg_get_payload_tail(message)));
}

template <std::size_t Count>
std::array<const nlattr*, Count> nested(const nlattr* attribute) {
  const auto* payload = static_cast<const char*>(mnl_attr_get_payload(attribute));
  return table<Count>(reinterpret_cast<const nlattr*>(payload), payload + mnl_attr_get_payload_len(attribute));
}

/// A string attribute that may lack its terminator.
std::string text_of(const nlattr* attribute) {
  if (attribute == nullptr) return {};
  const auto* text = static_cast<const char*>(mnl_attr_get_payload(attribute));
  return {text, strnlen(text, mnl_attr_get_payload_len(attribute))};
}

std::uint32_t u32_of(const nlattr* attribute) {
  if (attribute == nullptr || mnl_attr_get_payload_len(attribute) < sizeof(std::uint32_t)) return 0;
  return mnl_attr_get_u32(attribute);
}

TcFilterEntry filter_of(const nlmsghdr* message, const tcmsg* tc) {
  const auto at = attributes<TCA_OPTIONS + 1>(message, sizeof(tcmsg));
  TcFilterEntry entry{.kind = text_of(at[TCA_KIND]),
                      .preference = TC_H_MAJ(tc->tcm_info) >> 16,
                      .handle = tc->tcm_handle,
                      .name = {},
                      .program_tag = {}};
  if (entry.kind != "bpf" || at[TCA_OPTIONS] == nullptr) return entry;
  const auto bpf = nested<TCA_BPF_ID + 1>(at[TCA_OPTIONS]);
  entry.name = text_of(bpf[TCA_BPF_NAME]);
  entry.program_id = u32_of(bpf[TCA_BPF_ID]);
  if (bpf[TCA_BPF_TAG] != nullptr) {
    const std::span tag(static_cast<const std::uint8_t*>(mnl_attr_get_payload(bpf[TCA_BPF_TAG])),
                        mnl_attr_get_payload_len(bpf[TCA_BPF_TAG]));
    for (const std::uint8_t byte : tag) entry.program_tag += fmt::format("{:02x}", byte);
  }
  return entry;
}

/// The error of a NLMSG_ERROR message, or nothing when it acknowledges.
std::optional<Error> error_of(const nlmsghdr* message, const std::string& what) {
  const auto* payload = static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(message));
  if (payload->error == 0) return std::nullopt;
  Error error = errno_error(payload->error, what);
  // Behind the error stands the request (its header only when NLM_F_CAPPED), then attributes.
  std::size_t skip = sizeof(nlmsgerr);
  if ((message->nlmsg_flags & NLM_F_CAPPED) == 0) skip += payload->msg.nlmsg_len - sizeof(nlmsghdr);
  if ((message->nlmsg_flags & NLM_F_ACK_TLVS) != 0 && skip < mnl_nlmsg_get_payload_len(message)) {
    const auto at = attributes<NLMSGERR_ATTR_MSG + 1>(message, skip);
    if (const std::string words = text_of(at[NLMSGERR_ATTR_MSG]); !words.empty()) error.message += " (" + words + ")";
  }
  return error;
}

}  // namespace

const char* to_string(TcHook hook) {
  return hook == TcHook::ingress ? "ingress" : "egress";
}

Result<TcSocket> TcSocket::open(const netns::Netns& ns) {
  auto fd = netns::open_socket(ns, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (!fd) return pass(std::move(fd), "cannot open a netlink socket");
  const int on = 1;
  // Both are conveniences of newer kernels: without them errors have fewer words.
  (void)::setsockopt(fd->get(), SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
  (void)::setsockopt(fd->get(), SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
  return TcSocket(*std::move(fd));
}

Result<void> TcSocket::ask(nlmsghdr* request, const std::string& what,
                           const std::function<void(const nlmsghdr*)>& each) {
  request->nlmsg_seq = ++sequence_;
  if (::send(fd_.get(), request, request->nlmsg_len, 0) < 0) return fail_errno(errno, what);
  std::vector<char> buffer(kReceiveBytes);
  for (;;) {
    const ssize_t got = ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno(errno, what);
    int left = static_cast<int>(got);
    for (const auto* message = reinterpret_cast<const nlmsghdr*>(buffer.data()); mnl_nlmsg_ok(message, left);
         message = mnl_nlmsg_next(message, &left)) {
      if (message->nlmsg_seq != sequence_) continue;
      if (message->nlmsg_type == NLMSG_DONE) return {};
      if (message->nlmsg_type == NLMSG_ERROR) {
        auto error = error_of(message, what);
        if (error) return std::unexpected(*std::move(error));
        return {};
      }
      if (each) each(message);
    }
  }
}

Result<std::optional<std::string>> TcSocket::device_name(IfIndex device) {
  Request request(RTM_GETLINK, NLM_F_ACK);
  auto* link = static_cast<ifinfomsg*>(mnl_nlmsg_put_extra_header(request.head, sizeof(ifinfomsg)));
  link->ifi_index = static_cast<int>(device.value);
  std::optional<std::string> name;
  const auto done = ask(request.head, "cannot look for a device", [&name](const nlmsghdr* message) {
    name = text_of(attributes<IFLA_IFNAME + 1>(message, sizeof(ifinfomsg))[IFLA_IFNAME]);
  });
  if (!done && done.error().sys_errno != ENODEV) return std::unexpected(done.error());
  return name;
}

Result<std::optional<std::string>> TcSocket::clsact_kind(IfIndex device) {
  Request request(RTM_GETQDISC, NLM_F_DUMP);
  request.put_tc(device, 0);
  std::optional<std::string> kind;
  auto done = ask(request.head, "cannot list qdiscs", [&](const nlmsghdr* message) {
    const auto* tc = static_cast<const tcmsg*>(mnl_nlmsg_get_payload(message));
    // Kernels before 6.x may answer a dump with the qdiscs of every device.
    if (tc->tcm_ifindex != static_cast<int>(device.value) || tc->tcm_parent != TC_H_CLSACT) return;
    kind = text_of(attributes<TCA_KIND + 1>(message, sizeof(tcmsg))[TCA_KIND]);
  });
  if (!done) return pass(std::move(done));
  return kind;
}

Result<std::vector<TcFilterEntry>> TcSocket::filters(IfIndex device, TcHook hook) {
  Request request(RTM_GETTFILTER, NLM_F_DUMP);
  request.put_tc(device, parent_of(hook));
  std::vector<TcFilterEntry> entries;
  auto done = ask(request.head, fmt::format("cannot list {} filters", to_string(hook)), [&](const nlmsghdr* message) {
    entries.push_back(filter_of(message, static_cast<const tcmsg*>(mnl_nlmsg_get_payload(message))));
  });
  if (!done) return pass(std::move(done));
  return entries;
}

Result<void> TcSocket::add_clsact(IfIndex device) {
  Request request(RTM_NEWQDISC, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
  request.put_tc(device, TC_H_CLSACT)->tcm_handle = kClsactHandle;
  mnl_attr_put_strz(request.head, TCA_KIND, "clsact");
  return ask(request.head, "cannot add a clsact qdisc");
}

Result<void> TcSocket::delete_clsact(IfIndex device) {
  Request request(RTM_DELQDISC, NLM_F_ACK);
  request.put_tc(device, TC_H_CLSACT)->tcm_handle = kClsactHandle;
  mnl_attr_put_strz(request.head, TCA_KIND, "clsact");
  return ask(request.head, "cannot remove the clsact qdisc");
}

Result<void> TcSocket::add_filter(const TcBpfFilter& filter) {
  Request request(RTM_NEWTFILTER, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
  tcmsg* tc = request.put_tc(filter.device, parent_of(filter.hook));
  tc->tcm_handle = filter.handle;
  tc->tcm_info = info_of(filter.preference);
  mnl_attr_put_strz(request.head, TCA_KIND, "bpf");
  nlattr* options = mnl_attr_nest_start(request.head, TCA_OPTIONS);
  mnl_attr_put_u32(request.head, TCA_BPF_FD, static_cast<std::uint32_t>(filter.program_fd));
  mnl_attr_put_strz(request.head, TCA_BPF_NAME, filter.name.c_str());
  mnl_attr_put_u32(request.head, TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT);
  mnl_attr_nest_end(request.head, options);
  return ask(request.head,
             fmt::format("cannot add a filter at {} preference {}", to_string(filter.hook), filter.preference));
}

Result<void> TcSocket::delete_filter(IfIndex device, TcHook hook, std::uint32_t preference, std::uint32_t handle) {
  Request request(RTM_DELTFILTER, NLM_F_ACK);
  tcmsg* tc = request.put_tc(device, parent_of(hook));
  tc->tcm_handle = handle;
  tc->tcm_info = info_of(preference);
  mnl_attr_put_strz(request.head, TCA_KIND, "bpf");
  return ask(request.head, fmt::format("cannot remove the filter at {} preference {}", to_string(hook), preference));
}

}  // namespace weir::steer
