// The single attempts that the ladder is made of. Private to src/bpf.
#pragma once

#include <bpf/btf.h>

#include <memory>
#include <string>

#include "base/result.h"

namespace weir::bpf::probes {

struct BtfFree {
  void operator()(btf* info) const { btf__free(info); }
};
using BtfPtr = std::unique_ptr<btf, BtfFree>;

/// Each attempt is an error that tells the step and errno, or nothing: it worked and left nothing behind.
Result<BtfPtr> parse_btf(const std::string& path);
Result<void> load_any();
Result<void> raw_tp();
Result<void> tp_btf(const btf* info);
Result<void> ringbuf();
Result<void> rdonly_cast(const btf* info);
Result<void> fentry(const btf* info);
Result<void> fexit(const btf* info);
Result<void> kprobe_multi();
Result<void> kprobe();
Result<void> netns_id();
Result<void> netns_cookie();
Result<void> tracefs();

/// These attach to the loopback of the calling thread's namespace: call them in one of your own.
Result<void> netfilter_link();
Result<void> tcx();
Result<void> clsact();
Result<void> xdp();

}  // namespace weir::bpf::probes
