// Who chose the tx queue of a packet: the rules of netdev_core_pick_tx() (net/core/dev.c), in the words of the JSON
// documents.
#pragma once

#include <cstddef>
#include <cstdint>

namespace weir::model {

/// The rule that chose. The values are part of the BPF ABI (observe/queues/bpf/queues_abi.h asserts them).
enum class QueueRule : std::uint8_t {
  hash,         ///< skb_tx_hash(): flow hash scaled to the number of queues
  xps,          ///< get_xps_queue(): map of the sending CPU or of the socket's rx queue
  recorded,     ///< skb_tx_hash(): a recorded rx queue, modulo the number of queues
  socket,       ///< sk_tx_queue_mapping cached in the socket
  driver,       ///< the driver's ndo_select_queue decided otherwise than every rule of the core
  single,       ///< the device has one queue in use: nothing to choose
  unexplained,  ///< no rule gives this queue
};
inline constexpr std::size_t kQueueRuleCount = 7;

const char* to_string(QueueRule rule);

}  // namespace weir::model
