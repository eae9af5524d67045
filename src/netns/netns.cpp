#include "netns/netns.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fstream>

#include "base/text.h"
#include "netns/ns_file.h"

namespace weir::netns {

namespace {

// Linux 6.9, include/uapi/linux/pidfd.h: PIDFD_GET_NET_NAMESPACE.
constexpr unsigned long kPidfdGetNetns = _IO(0xFF, 4);

Result<Netns> open_checked(const std::string& path, const std::string& what) {
  auto fd = detail::open_ns_file(path, what);
  if (!fd) return pass(std::move(fd));
  return Netns::from_fd(std::move(*fd));
}

std::unexpected<Error> no_process(pid_t pid) {
  return fail(Errc::not_found, "no process " + std::to_string(pid) + ", so no network namespace of it");
}

/// The number of the process behind a pidfd; not_found when it has ended.
Result<pid_t> pid_of(int pidfd) {
  std::ifstream file("/proc/self/fdinfo/" + std::to_string(pidfd));
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("Pid:")) continue;
    const auto pid = parse_u64(trim(std::string_view(line).substr(4)));
    if (!pid || *pid == 0) return fail(Errc::not_found, "the process has ended, so it has no network namespace");
    return static_cast<pid_t>(*pid);
  }
  return fail(Errc::usage, "descriptor " + std::to_string(pidfd) + " is no pidfd");
}

/// By the pidfd itself where the kernel can, else by number, which the living process keeps from being given away.
Result<Netns> of_process(int pidfd, pid_t pid) {
  Fd fd(::ioctl(pidfd, kPidfdGetNetns, 0));
  if (fd.valid()) return Netns::from_fd(std::move(fd));
  if (errno == ESRCH) return fail(Errc::not_found, "the process has ended, so it has no network namespace");
  if (errno == EACCES || errno == EPERM || errno == EMFILE || errno == ENFILE) {
    return fail_errno(errno, "the network namespace of a process");
  }
  if (pid == 0) {
    auto known = pid_of(pidfd);
    if (!known) return pass(std::move(known));
    pid = *known;
  }
  auto ns = open_checked("/proc/" + std::to_string(pid) + "/ns/net", "process " + std::to_string(pid));
  // Still alive now: then the number was its own when the file was opened.
  if (ns && ::syscall(SYS_pidfd_send_signal, pidfd, 0, nullptr, 0) != 0 && errno == ESRCH) return no_process(pid);
  return ns;
}

Result<Netns> open_pid(std::string_view number) {
  const auto pid = parse_u64(number);
  if (!pid || *pid == 0 || *pid > std::uint64_t{1} << 22) {  // PID_MAX_LIMIT
    return fail(Errc::usage, "\"pid:" + std::string(number) + "\": expected a process id after \"pid:\"");
  }
  return Netns::of_pid(static_cast<pid_t>(*pid));
}

Result<Netns> open_id(std::string_view number) {
  if (number.find('@') != std::string_view::npos) {
    auto durable = DurableId::parse("id:" + std::string(number));
    if (!durable) return pass(std::move(durable));
    return Netns::reopen(*durable);
  }
  const auto id = parse_u64(number);
  if (!id) return fail(Errc::usage, "\"id:" + std::string(number) + "\": expected a namespace id after \"id:\"");
  const auto entries = list(nullptr, 16);
  if (!entries) return std::unexpected(entries.error());
  for (const Entry& entry : *entries) {
    if (entry.id == *id) return open(entry);
  }
  return fail(Errc::not_found, "no network namespace has id " + std::to_string(*id),
              "ids hold for one boot; only namespaces with a name or a process can be found");
}

Result<Netns> open_name(std::string_view name) {
  if (auto checked = detail::check_name(name); !checked) return pass(std::move(checked));
  const std::string path = detail::kNamedDir + ("/" + std::string(name));
  auto ns = open_checked(path, path);
  if (ns || ns.error().code != Errc::not_found) return ns;
  auto known = detail::named().value_or(std::vector<std::string>{});
  known.emplace_back("init");
  return fail(Errc::not_found, "no network namespace \"" + std::string(name) + "\"", suggest(name, known));
}

}  // namespace

Result<Netns> Netns::open(std::string_view spec) {
  if (spec == "init") return initial();
  if (spec == "all") return fail(Errc::usage, "\"all\" is not one network namespace");
  if (spec.starts_with("pid:")) return open_pid(spec.substr(4));
  if (spec.starts_with("id:")) return open_id(spec.substr(3));
  if (spec.starts_with('/')) return open_checked(std::string(spec), std::string(spec));
  if (spec.find('/') != std::string_view::npos) {
    return fail(Errc::usage, "\"" + std::string(spec) +
                                 "\" is no network namespace: expected a name, an absolute path, pid:N, id:N or init");
  }
  return open_name(spec);
}

Result<Netns> Netns::current() {
  return open_checked("/proc/thread-self/ns/net", "this thread's network namespace");
}

Result<Netns> Netns::initial() {
  return open_checked(detail::initial_path(), "the initial network namespace");
}

Result<Netns> Netns::from_fd(sys::Fd fd) {
  if (auto checked = detail::check_ns_fd(fd.get(), "descriptor " + std::to_string(fd.get())); !checked) {
    return pass(std::move(checked));
  }
  auto identity = detail::ns_id(fd.get());
  if (!identity) return pass(std::move(identity));
  return Netns(std::move(fd), identity->id, identity->inum, identity->weak);
}

Result<Netns> Netns::duplicate() const {
  Fd copy(::fcntl(fd_.get(), F_DUPFD_CLOEXEC, 0));
  if (!copy.valid()) return fail_errno(errno, "another handle of network namespace id " + std::to_string(id_));
  return Netns(std::move(copy), id_, inum_, weak_);
}

Result<Netns> Netns::of_pid(pid_t pid) {
  if (pid <= 0) return fail(Errc::usage, std::to_string(pid) + " is no process id");
  const Fd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!process.valid()) {
    // EINVAL: the number is that of a thread.
    if (errno == ESRCH || errno == EINVAL) return no_process(pid);
    return fail_errno(errno, "process " + std::to_string(pid));
  }
  auto ns = of_process(process.get(), pid);
  if (!ns && ns.error().code == Errc::not_found) return no_process(pid);
  return ns;
}

Result<Netns> Netns::of_pidfd(int pidfd) {
  return of_process(pidfd, 0);
}

Result<Netns> Netns::of_socket(int socket) {
  Fd fd(::ioctl(socket, SIOCGSKNS));
  if (!fd.valid()) {
    Error error = errno_error(errno, "the network namespace of socket " + std::to_string(socket));
    if (error.code == Errc::permission) error.hint = "CAP_NET_ADMIN in that namespace is needed";
    return std::unexpected(std::move(error));
  }
  return from_fd(std::move(fd));
}

}  // namespace weir::netns
