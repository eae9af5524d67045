#include "bpf/link.h"

#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>

namespace weir::bpf {

namespace {

// What the kernel's uapi linux/bpf.h has and Debian 12's (6.1) has not. Values and layouts are kernel ABI and cannot
// change: a link_create attribute starts with program fd, target, attach type and flags; the rest depends on the type.
constexpr std::uint32_t kBpfNetfilter = 45;       // BPF_NETFILTER, Linux 6.4, commit 84601d6ee68a
constexpr std::uint32_t kBpfTcxIngress = 46;      // BPF_TCX_INGRESS, Linux 6.6, commit e420bed02507
constexpr std::uint32_t kBpfTcxEgress = 47;       // BPF_TCX_EGRESS
constexpr std::uint32_t kProgTypeNetfilter = 32;  // BPF_PROG_TYPE_NETFILTER, Linux 6.4, commit fd9c663b9ad6
constexpr std::uint32_t kBefore = 1U << 3;        // BPF_F_BEFORE, Linux 6.6, commit 053c8e1f235d
constexpr std::uint32_t kAfter = 1U << 4;         // BPF_F_AFTER
constexpr std::uint32_t kRelativeIsId = 1U << 5;  // BPF_F_ID: relative_program is an id, not an fd

struct LinkCreateHead {
  std::uint32_t program_fd;
  std::uint32_t target;  // ifindex for tcx, 0 for netfilter (the caller's namespace)
  std::uint32_t attach_type;
  std::uint32_t flags;
};

struct LinkCreateTcx {
  LinkCreateHead head;
  std::uint32_t relative_program;
  std::uint32_t pad;
  std::uint64_t expected_revision;  // 0: do not check
};
static_assert(sizeof(LinkCreateTcx) == 32);

struct LinkCreateNetfilter {
  LinkCreateHead head;
  std::uint32_t family;
  std::uint32_t hook;
  std::int32_t priority;
  std::uint32_t flags;  // BPF_F_NETFILTER_IP_DEFRAG or 0
};
static_assert(sizeof(LinkCreateNetfilter) == 32);

template <class Attribute>
int link_create(Attribute& attribute) {
  return static_cast<int>(::syscall(__NR_bpf, BPF_LINK_CREATE, &attribute, sizeof attribute));
}

std::uint32_t flags_of(TcxPosition::Where where) {
  switch (where) {
    case TcxPosition::Where::first:
      return kBefore;
    case TcxPosition::Where::before:
      return kBefore | kRelativeIsId;
    case TcxPosition::Where::after:
      return kAfter | kRelativeIsId;
    case TcxPosition::Where::last:
      break;
  }
  return kAfter;
}

}  // namespace

Result<Link> Link::tcx(int program_fd, IfIndex device, TcSide side, TcxPosition position) {
  LinkCreateTcx attribute{};
  attribute.head.program_fd = static_cast<std::uint32_t>(program_fd);
  attribute.head.target = device.value;
  attribute.head.attach_type = side == TcSide::ingress ? kBpfTcxIngress : kBpfTcxEgress;
  attribute.head.flags = flags_of(position.where);
  attribute.relative_program = position.relative_program;
  const int fd = link_create(attribute);
  if (fd >= 0) return Link(fd);
  const int err = errno;
  // A kernel that does not know the attach type answers EINVAL, as it does for a bad argument of ours.
  Error error = errno_error(err, "cannot attach a tcx program");
  if (err == EINVAL || err == E2BIG) error.code = Errc::unsupported;
  return std::unexpected(std::move(error));
}

Result<Link> Link::netfilter(int program_fd, const NetfilterHook& hook) {
  LinkCreateNetfilter attribute{};
  attribute.head.program_fd = static_cast<std::uint32_t>(program_fd);
  attribute.head.attach_type = kBpfNetfilter;
  attribute.family = hook.family;
  attribute.hook = hook.hook;
  attribute.priority = hook.priority;
  const int fd = link_create(attribute);
  if (fd >= 0) return Link(fd);
  const int err = errno;
  Error error = errno_error(err, "cannot attach a netfilter program");
  if (err == EINVAL || err == E2BIG || err == EAFNOSUPPORT) error.code = Errc::unsupported;
  return std::unexpected(std::move(error));
}

Result<Link> Link::tracepoint(int program_fd, const std::string& name) {
  const int fd = bpf_raw_tracepoint_open(name.empty() ? nullptr : name.c_str(), program_fd);
  if (fd < 0) return fail_errno(fd, "cannot attach to tracepoint " + name);
  return Link(fd);
}

Result<Link> Link::tracing(int program_fd) {
  // BPF_RAW_TRACEPOINT_OPEN without a name attaches any TRACING program to its own target, since 5.5; BPF_LINK_CREATE
  // for these came only with 5.19.
  const int fd = bpf_raw_tracepoint_open(nullptr, program_fd);
  if (fd < 0) return fail_errno(fd, "cannot attach a tracing program");
  return Link(fd);
}

Result<Link> Link::tracing(int program_fd, std::uint64_t cookie) {
  bpf_link_create_opts options{};
  options.sz = sizeof options;
  options.tracing.cookie = cookie;
  const int fd = bpf_link_create(program_fd, 0, BPF_TRACE_FENTRY, &options);
  if (fd < 0) return fail_errno(fd, "cannot attach to a function");
  return Link(fd);
}

Result<Link> Link::kprobe(int program_fd, const std::string& function, std::uint64_t cookie) {
  std::ifstream file("/sys/bus/event_source/devices/kprobe/type");
  perf_event_attr attribute{};
  attribute.size = sizeof attribute;
  if (!(file >> attribute.type)) return fail(Errc::unsupported, "this kernel has no kprobes");
  attribute.config1 = reinterpret_cast<std::uintptr_t>(function.c_str());
  // The link keeps the event open for as long as it lives.
  const sys::Fd event(static_cast<int>(::syscall(__NR_perf_event_open, &attribute, -1, 0, -1, PERF_FLAG_FD_CLOEXEC)));
  if (!event.valid()) return fail_errno(errno, "cannot make a kprobe at " + function);
  bpf_link_create_opts options{};
  options.sz = sizeof options;
  options.perf_event.bpf_cookie = cookie;
  const int fd = bpf_link_create(program_fd, event.get(), BPF_PERF_EVENT, &options);
  if (fd < 0) return fail_errno(fd, "cannot attach to a kprobe at " + function);
  return Link(fd);
}

Result<Link> Link::kprobe_multi(int program_fd, const bpf_link_create_opts& options) {
  const int fd = bpf_link_create(program_fd, 0, BPF_TRACE_KPROBE_MULTI, &options);
  if (fd >= 0) return Link(fd);
  Error error = errno_error(fd, "cannot attach to functions");
  if (fd == -EINVAL || fd == -EOPNOTSUPP) error.code = Errc::unsupported;
  return std::unexpected(std::move(error));
}

Result<void> set_netfilter_type(bpf_program* program) {
  int err = bpf_program__set_type(program, static_cast<bpf_prog_type>(kProgTypeNetfilter));
  if (err == 0) err = bpf_program__set_expected_attach_type(program, static_cast<bpf_attach_type>(kBpfNetfilter));
  if (err != 0) return fail_errno(err, "cannot set the program type to netfilter");
  return {};
}

Result<void> set_tc_type(bpf_program* program) {
  if (const int err = bpf_program__set_type(program, BPF_PROG_TYPE_SCHED_CLS); err != 0) {
    return fail_errno(err, "cannot set the program type to tc");
  }
  return {};
}

}  // namespace weir::bpf
