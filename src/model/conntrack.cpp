#include "model/conntrack.h"

#include <array>

namespace weir::model {

namespace {

// include/uapi/linux/netfilter/nf_conntrack_tcp.h: enum tcp_conntrack, as /proc/net/nf_conntrack writes it.
constexpr std::array<std::string_view, 10> kTcpStates{"NONE",     "SYN_SENT",   "SYN_RECV", "ESTABLISHED",
                                                      "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT",
                                                      "CLOSE",    "SYN_SENT2"};
constexpr std::uint8_t kTimeWait = 7;
constexpr std::uint8_t kClose = 8;

// include/uapi/linux/netfilter/nf_conntrack_common.h: enum ip_conntrack_status, by bit.
constexpr std::array<std::string_view, 16> kStatusNames{
    "EXPECTED",     "SEEN_REPLY", "ASSURED",       "CONFIRMED", "SRC_NAT",   "DST_NAT", "SEQ_ADJUST", "SRC_NAT_DONE",
    "DST_NAT_DONE", "DYING",      "FIXED_TIMEOUT", "TEMPLATE",  "UNTRACKED", "HELPER",  "OFFLOAD",    "HW_OFFLOAD"};

}  // namespace

bool ConntrackEntry::tcp_closed() const {
  return tcp_state == kTimeWait || tcp_state == kClose;
}

bool ConntrackEntry::over() const {
  return ended || (status & kConntrackDying) != 0 || tcp_closed();
}

std::string_view state_text(const ConntrackEntry& entry) {
  if (!entry.tcp_state) return {};
  return *entry.tcp_state < kTcpStates.size() ? kTcpStates[*entry.tcp_state] : "UNKNOWN";
}

std::vector<std::string_view> status_names(std::uint32_t status) {
  std::vector<std::string_view> names;
  for (std::size_t bit = 0; bit < kStatusNames.size(); ++bit) {
    if ((status >> bit & 1U) != 0) names.push_back(kStatusNames[bit]);
  }
  return names;
}

const char* to_string(ConntrackRung rung) {
  switch (rung) {
    case ConntrackRung::events:
      return "events";
    case ConntrackRung::dump:
      return "dump";
    case ConntrackRung::packets:
      return "packets";
  }
  return "packets";
}

}  // namespace weir::model
