// Link: a BPF program attached to a hook for as long as the object lives.
#pragma once

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <cstdint>
#include <string>

#include "base/result.h"
#include "base/strong_id.h"
#include "sys/fd.h"

namespace weir::bpf {

/// Which side of a device a tc program sees. Egress runs before the tx queue is picked (net/core/dev.c).
enum class TcSide : std::uint8_t { ingress, egress };

/// Where in a device's list of tcx programs a new one goes (Linux 6.6, commit e420bed02507).
struct TcxPosition {
  enum class Where : std::uint8_t {
    last,    ///< after everything that is there now; programs attached later may still come behind
    first,   ///< before everything that is there now
    before,  ///< right before `relative_program`
    after,   ///< right behind `relative_program`
  };
  Where where = Where::last;
  std::uint32_t relative_program = 0;  ///< program id, for before and after
};

/// Hook of netfilter, in the kernel's own numbers: NFPROTO_* and NF_INET_* (linux/netfilter.h). Among BPF programs of a
/// hook a priority can be held once only: a second one gets Errc::busy.
struct NetfilterHook {
  std::uint32_t family = 0;  ///< NFPROTO_IPV4, NFPROTO_IPV6 (the kernel accepts these two)
  std::uint32_t hook = 0;    ///< NF_INET_PRE_ROUTING …
  std::int32_t priority = 0;
};

/// Move-only owner of one BPF link. Closing detaches; a killed process detaches too, because nothing is pinned.
class [[nodiscard]] Link {
 public:
  Link() = default;

  /// Attaches a SCHED_CLS program to a device of the calling thread's namespace. Errc::unsupported before Linux 6.6.
  static Result<Link> tcx(int program_fd, IfIndex device, TcSide side, TcxPosition position = {});

  /// Attaches a NETFILTER program to the calling thread's namespace. Errc::unsupported before Linux 6.4, Errc::busy
  /// when the priority is taken.
  static Result<Link> netfilter(int program_fd, const NetfilterHook& hook);

  /// Attaches a raw_tp or tp_btf program. `name` is the tracepoint for raw_tp; empty for tp_btf, which knows it from
  /// loading.
  static Result<Link> tracepoint(int program_fd, const std::string& name = {});

  /// Attaches a loaded fentry, fexit, fmod_ret or tp_btf program to the function that it was loaded for.
  static Result<Link> tracing(int program_fd);
  /// The same with a value that the program gets from bpf_get_attach_cookie() (Linux 5.19, commit 2fcc82411e74).
  static Result<Link> tracing(int program_fd, std::uint64_t cookie);

  /// Attaches a KPROBE program to one function, with a cookie (Linux 5.15, commit b89fbfbb854c). Errc::unsupported
  /// where the kernel has no kprobes.
  static Result<Link> kprobe(int program_fd, const std::string& function, std::uint64_t cookie);

  /// Attaches a KPROBE program to functions of the kernel at once (Linux 5.18, commit 0dcac2725406); `options` holds
  /// their names and cookies. Errc::unsupported where the kernel has no fprobe.
  static Result<Link> kprobe_multi(int program_fd, const bpf_link_create_opts& options);

  [[nodiscard]] bool attached() const noexcept { return fd_.valid(); }
  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  void detach() noexcept { fd_.reset(); }

 private:
  explicit Link(int fd) noexcept : fd_(fd) {}
  sys::Fd fd_;
};

/// Makes a program of an opened, not yet loaded object a NETFILTER one: libbpf 1.1 does not know the type. The ELF
/// section may have any name that libbpf does not know ("netfilter").
Result<void> set_netfilter_type(bpf_program* program);

/// Makes a program of an opened, not yet loaded object a SCHED_CLS one: libbpf 1.1 knows sections "tc" and "classifier"
/// only, not "tc/NAME" or "tcx/…".
Result<void> set_tc_type(bpf_program* program);

}  // namespace weir::bpf
