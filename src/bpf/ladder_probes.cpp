#include "bpf/ladder_probes.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/netfilter.h>
#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <fstream>
#include <span>

#include "bpf/link.h"
#include "bpf/log.h"
#include "sys/fd.h"

namespace weir::bpf::probes {

namespace {

constexpr std::uint32_t kProgTypeNetfilter = 32;  // see link.cpp
constexpr std::uint32_t kAttachNetfilter = 45;
constexpr unsigned long kNsGetId = _IOR(0xb7, 13, std::uint64_t);  // NS_GET_ID, Linux 6.18
constexpr int kSoNetnsCookie = 71;                                 // SO_NETNS_COOKIE, Linux 5.14
constexpr std::uint32_t kLoopback = 1;                             // the first device of every namespace
constexpr const char* kTracepoint = "net_dev_start_xmit";
constexpr const char* kFunction = "ip_rcv";  // in every kernel with IPv4, not inlined, in use all the time

constexpr bpf_insn kReturnZero[] = {
    {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .src_reg = 0, .off = 0, .imm = 0},
    {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0},
};
// Verdicts that let packets go on: NF_ACCEPT is 1, XDP_PASS is 2.
constexpr bpf_insn kReturnOne[] = {
    {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .src_reg = 0, .off = 0, .imm = 1},
    {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0},
};
constexpr bpf_insn kReturnTwo[] = {
    {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .src_reg = 0, .off = 0, .imm = 2},
    {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0},
};

struct Target {
  std::uint32_t attach_type = 0;
  std::uint32_t btf_id = 0;
};

Result<sys::Fd> load(std::uint32_t type, std::span<const bpf_insn> code, Target target = {}) {
  const LogCapture quiet;
  bpf_prog_load_opts options{};
  options.sz = sizeof options;
  options.expected_attach_type = static_cast<bpf_attach_type>(target.attach_type);
  options.attach_btf_id = target.btf_id;
  const int fd =
      bpf_prog_load(static_cast<bpf_prog_type>(type), "weir_probe", "Dual BSD/GPL", code.data(), code.size(), &options);
  if (fd < 0) return fail_errno(fd, "loading a program");
  return sys::Fd(fd);
}

Result<std::uint32_t> find(const btf* info, const std::string& name, std::uint32_t kind) {
  if (info == nullptr) return fail(Errc::unsupported, "there is no type information (BTF) to find it by");
  const int id = btf__find_by_name_kind(info, name.c_str(), kind);
  if (id < 0) return fail(Errc::unsupported, "the kernel's type information (BTF) has no " + name);
  return static_cast<std::uint32_t>(id);
}

Result<void> attached(Result<Link> link) {
  if (!link) return pass(std::move(link));
  return {};
}

Result<void> trampoline(const btf* info, bpf_attach_type type) {
  const auto id = find(info, kFunction, BTF_KIND_FUNC);
  if (!id) return std::unexpected(id.error());
  // The context of fentry holds ip_rcv's arguments; the program reads none.
  const auto program = load(BPF_PROG_TYPE_TRACING, kReturnZero, {static_cast<std::uint32_t>(type), *id});
  if (!program) return std::unexpected(program.error());
  return attached(Link::tracing(program->get()));
}

}  // namespace

Result<BtfPtr> parse_btf(const std::string& path) {
  const LogCapture quiet;
  BtfPtr info(btf__parse(path.c_str(), nullptr));
  if (!info) return fail_errno(errno, "reading " + path);
  return info;
}

Result<void> load_any() {
  const auto program = load(BPF_PROG_TYPE_SCHED_CLS, kReturnZero);
  if (!program) return std::unexpected(program.error());
  return {};
}

Result<void> raw_tp() {
  const auto program = load(BPF_PROG_TYPE_RAW_TRACEPOINT, kReturnZero);
  if (!program) return std::unexpected(program.error());
  return attached(Link::tracepoint(program->get(), kTracepoint));
}

Result<void> tp_btf(const btf* info) {
  const auto id = find(info, std::string("btf_trace_") + kTracepoint, BTF_KIND_TYPEDEF);
  if (!id) return std::unexpected(id.error());
  const auto program = load(BPF_PROG_TYPE_TRACING, kReturnZero, {BPF_TRACE_RAW_TP, *id});
  if (!program) return std::unexpected(program.error());
  return attached(Link::tracepoint(program->get()));
}

Result<void> ringbuf() {
  const int fd = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "weir_probe", 0, 0,
                                static_cast<std::uint32_t>(::sysconf(_SC_PAGESIZE)), nullptr);
  if (fd < 0) return fail_errno(fd, "creating a ring buffer");
  sys::Fd{fd}.reset();
  return {};
}

Result<void> rdonly_cast(const btf* info) {
  const auto function = find(info, "bpf_rdonly_cast", BTF_KIND_FUNC);
  if (!function) return std::unexpected(function.error());
  const auto type = find(info, "sk_buff", BTF_KIND_STRUCT);
  if (!type) return std::unexpected(type.error());
  const std::array code = {
      bpf_insn{.code = BPF_ALU64 | BPF_MOV | BPF_K,
               .dst_reg = BPF_REG_2,
               .src_reg = 0,
               .off = 0,
               .imm = static_cast<std::int32_t>(*type)},
      bpf_insn{.code = BPF_JMP | BPF_CALL,
               .dst_reg = 0,
               .src_reg = BPF_PSEUDO_KFUNC_CALL,
               .off = 0,
               .imm = static_cast<std::int32_t>(*function)},
      kReturnZero[0],
      kReturnZero[1],
  };
  const auto program = load(BPF_PROG_TYPE_SCHED_CLS, code);
  if (!program) return std::unexpected(program.error());
  return {};
}

Result<void> fentry(const btf* info) {
  return trampoline(info, BPF_TRACE_FENTRY);
}
Result<void> fexit(const btf* info) {
  return trampoline(info, BPF_TRACE_FEXIT);
}

Result<void> kprobe_multi() {
  const auto program = load(BPF_PROG_TYPE_KPROBE, kReturnZero, {BPF_TRACE_KPROBE_MULTI, 0});
  if (!program) return std::unexpected(program.error());
  const char* symbols[] = {kFunction};
  bpf_link_create_opts options{};
  options.sz = sizeof options;
  options.kprobe_multi.cnt = 1;
  options.kprobe_multi.syms = symbols;
  const int fd = bpf_link_create(program->get(), 0, BPF_TRACE_KPROBE_MULTI, &options);
  if (fd < 0) return fail_errno(fd, "attaching to a function");
  sys::Fd{fd}.reset();
  return {};
}

Result<void> kprobe() {
  std::ifstream file("/sys/bus/event_source/devices/kprobe/type");
  std::uint32_t type = 0;
  if (!(file >> type)) return fail_errno(ENOENT, "reading /sys/bus/event_source/devices/kprobe/type");
  const auto program = load(BPF_PROG_TYPE_KPROBE, kReturnZero);
  if (!program) return std::unexpected(program.error());
  perf_event_attr attribute{};
  attribute.size = sizeof attribute;
  attribute.type = type;
  attribute.config1 = reinterpret_cast<std::uintptr_t>(kFunction);
  const sys::Fd event(static_cast<int>(::syscall(__NR_perf_event_open, &attribute, -1, 0, -1, PERF_FLAG_FD_CLOEXEC)));
  if (!event.valid()) return fail_errno(errno, "creating a kprobe");
  if (::ioctl(event.get(), PERF_EVENT_IOC_SET_BPF, program->get()) != 0)
    return fail_errno(errno, "attaching to a kprobe");
  return {};
}

Result<void> netns_id() {
  const sys::Fd ns(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
  if (!ns.valid()) return fail_errno(errno, "opening /proc/self/ns/net");
  std::uint64_t id = 0;
  if (::ioctl(ns.get(), kNsGetId, &id) != 0) return fail_errno(errno, "asking with NS_GET_ID");
  return {};
}

Result<void> netns_cookie() {
  const sys::Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return fail_errno(errno, "opening a socket");
  std::uint64_t cookie = 0;
  socklen_t bytes = sizeof cookie;
  if (::getsockopt(socket.get(), SOL_SOCKET, kSoNetnsCookie, &cookie, &bytes) != 0) {
    return fail_errno(errno, "asking with SO_NETNS_COOKIE");
  }
  return {};
}

Result<void> tracefs() {
  const sys::Fd events(::open("/sys/kernel/tracing/events/net", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!events.valid()) return fail_errno(errno, "opening /sys/kernel/tracing/events/net");
  return {};
}

Result<void> netfilter_link() {
  const auto program = load(kProgTypeNetfilter, kReturnOne, {kAttachNetfilter, 0});
  if (!program) return std::unexpected(program.error());
  return attached(Link::netfilter(program->get(), {NFPROTO_IPV4, NF_INET_PRE_ROUTING, -300}));
}

Result<void> tcx() {
  const auto program = load(BPF_PROG_TYPE_SCHED_CLS, kReturnZero);
  if (!program) return std::unexpected(program.error());
  return attached(Link::tcx(program->get(), IfIndex{kLoopback}, TcSide::egress));
}

Result<void> clsact() {
  const auto program = load(BPF_PROG_TYPE_SCHED_CLS, kReturnZero);
  if (!program) return std::unexpected(program.error());
  const LogCapture quiet;
  bpf_tc_hook hook{};
  hook.sz = sizeof hook;
  hook.ifindex = kLoopback;
  hook.attach_point = BPF_TC_EGRESS;
  if (const int err = bpf_tc_hook_create(&hook); err != 0) return fail_errno(err, "adding a clsact qdisc");
  bpf_tc_opts options{};
  options.sz = sizeof options;
  options.prog_fd = program->get();
  if (const int err = bpf_tc_attach(&hook, &options); err != 0) return fail_errno(err, "adding a tc filter");
  return {};  // qdisc and filter go with the namespace
}

Result<void> xdp() {
  const auto program = load(BPF_PROG_TYPE_XDP, kReturnTwo);
  if (!program) return std::unexpected(program.error());
  const int fd = bpf_link_create(program->get(), kLoopback, BPF_XDP, nullptr);
  if (fd < 0) return fail_errno(fd, "attaching an XDP program");
  sys::Fd{fd}.reset();
  return {};
}

}  // namespace weir::bpf::probes
