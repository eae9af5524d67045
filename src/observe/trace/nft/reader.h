// NftTraceReader: a namespace's nftables trace messages (NETLINK_NETFILTER, group NFNLGRP_NFTRACE).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "base/result.h"
#include "netns/netns.h"
#include "observe/trace/nft/message.h"
#include "sys/fd.h"

namespace weir::observe {

/// Receives only; it changes nothing. Messages come for packets on which a rule has set `meta nftrace`: one that is
/// there already, or that of an NftTraceSwitch. The kernel does the work of a message only while somebody listens.
class [[nodiscard]] NftTraceReader {
 public:
  /// The socket is made in `ns` and stays there; the thread does not. Errc::permission without CAP_NET_ADMIN there,
  /// Errc::unsupported on a kernel without nfnetlink.
  static Result<NftTraceReader> open(const netns::Netns& ns);

  /// Readable when messages are there: for poll(2) and epoll(7). Owned by the reader.
  [[nodiscard]] int fd() const { return fd_.get(); }

  /// Takes what is there, without waiting, and gives each message to `each`, in the order in which the kernel sent
  /// them; between CPUs that is not quite the order in which the rules were met. Headers of earlier messages of the
  /// same packet are filled in. Messages about tables of NftTraceSwitch are left out. Returns how many were given.
  Result<std::size_t> read(const std::function<void(const NftTraceMessage&)>& each);

  /// How often messages were lost because they were not read fast enough; how many the kernel does not say.
  [[nodiscard]] std::uint64_t overruns() const { return overruns_; }
  /// Messages that could not be read.
  [[nodiscard]] std::uint64_t malformed() const { return malformed_; }

 private:
  explicit NftTraceReader(sys::Fd fd) : fd_(std::move(fd)), carrier_(std::make_unique<NftHeaderCarrier>()) {}
  std::size_t take(std::span<const std::byte> block, const std::function<void(const NftTraceMessage&)>& each);

  sys::Fd fd_;
  std::vector<std::byte> buffer_;
  std::unique_ptr<NftHeaderCarrier> carrier_;  ///< large, and readers are moved
  std::uint64_t overruns_ = 0;
  std::uint64_t malformed_ = 0;
};

}  // namespace weir::observe
