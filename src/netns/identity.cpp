// DurableId: written down, read back, and opened again by the file handles of nsfs.
#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>

#include "base/text.h"
#include "netns/netns.h"
#include "netns/ns_file.h"

namespace weir::netns {

namespace {

using Boot = std::array<std::byte, 16>;

// Linux 6.18, include/uapi/linux/{fcntl,nsfs,exportfs}.h.
constexpr int kNsfsRoot = -10003;      // FD_NSFS_ROOT
constexpr int kNsfsHandleType = 0xf1;  // FILEID_NSFS

/// struct nsfs_file_handle.
struct NsfsHandle {
  std::uint64_t id;
  std::uint32_t type;
  std::uint32_t inum;
};
static_assert(sizeof(NsfsHandle) == 16);

std::string uuid_text(const Boot& boot) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (std::size_t i = 0; i < boot.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    const auto byte = std::to_integer<unsigned>(boot[i]);
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

std::optional<Boot> parse_uuid(std::string_view text) {
  std::string digits(text);
  std::erase(digits, '-');
  Boot boot{};
  if (digits.size() != 2 * boot.size()) return std::nullopt;
  for (std::size_t i = 0; i < boot.size(); ++i) {
    const auto byte = parse_u64(std::string_view(digits).substr(2 * i, 2), 16);
    if (!byte) return std::nullopt;
    boot[i] = static_cast<std::byte>(*byte);
  }
  if (uuid_text(boot) != text) return std::nullopt;  // hyphens elsewhere, capitals
  return boot;
}

Result<Boot> read_boot() {
  constexpr const char* kPath = "/proc/sys/kernel/random/boot_id";
  std::ifstream file(kPath);
  std::string line;
  std::getline(file, line);
  const auto boot = parse_uuid(line);
  if (!boot) return fail(Errc::failed, std::string(kPath) + " cannot be read");
  return *boot;
}

Result<Boot> this_boot() {
  static const Result<Boot> boot = read_boot();
  return boot;
}

/// Whether this is the initial user namespace: all ids are mapped to themselves.
bool in_initial_user_namespace() {
  std::ifstream file("/proc/self/uid_map");
  std::uint64_t inside = 1, outside = 1, count = 0;
  file >> inside >> outside >> count;
  return inside == 0 && outside == 0 && count == 4294967295U;
}

/// By file handle. unsupported: the kernel has none, or the handle is not whole.
Result<Netns> reopen_by_handle(const DurableId& id) {
  if (id.inum == 0 || id.weak) return fail(Errc::unsupported, "no file handle");
  std::array<std::byte, sizeof(file_handle) + sizeof(NsfsHandle)> buffer{};
  auto* handle = reinterpret_cast<file_handle*>(buffer.data());
  handle->handle_bytes = sizeof(NsfsHandle);
  handle->handle_type = kNsfsHandleType;
  const NsfsHandle content{id.id, CLONE_NEWNET, id.inum};
  std::memcpy(handle->f_handle, &content, sizeof content);
  Fd fd(::open_by_handle_at(kNsfsRoot, handle, O_RDONLY | O_CLOEXEC));
  if (fd.valid()) return Netns::from_fd(std::move(fd));
  if (errno == ESTALE) {
    // The kernel says the same of what is gone and of what is not to be seen from here.
    if (in_initial_user_namespace()) return fail(Errc::not_found, "network namespace " + id.text() + " is gone");
    return fail(Errc::permission, "network namespace " + id.text() + " is gone, or this user namespace may not see it");
  }
  if (errno == EMFILE || errno == ENFILE || errno == ENOMEM) return fail_errno(errno, id.text());
  return fail(Errc::unsupported, "no file handles of namespaces");
}

}  // namespace

std::string DurableId::text() const {
  return (weak ? "id:weak-" : "id:") + std::to_string(id) + "/" + std::to_string(inum) + "@" + uuid_text(boot);
}

Result<DurableId> DurableId::parse(std::string_view text) {
  const auto wrong = [&] {
    return fail(Errc::usage, "\"" + std::string(text) + "\": expected id:NUMBER/INODE@BOOT-ID");
  };
  std::string_view rest = text;
  if (!rest.starts_with("id:")) return wrong();
  rest.remove_prefix(3);
  DurableId result;
  result.weak = rest.starts_with("weak-");
  if (result.weak) rest.remove_prefix(5);
  const std::size_t slash = rest.find('/');
  const std::size_t at = rest.find('@');
  if (slash == std::string_view::npos || at == std::string_view::npos || at < slash) return wrong();
  const auto id = parse_u64(rest.substr(0, slash));
  const auto inum = parse_u64(rest.substr(slash + 1, at - slash - 1));
  const auto boot = parse_uuid(rest.substr(at + 1));
  if (!id || !inum || *inum > 0xFFFFFFFFU || !boot) return wrong();
  result.id = *id;
  result.inum = static_cast<std::uint32_t>(*inum);
  result.boot = *boot;
  return result;
}

Result<DurableId> Netns::durable() const {
  auto boot = this_boot();
  if (!boot) return pass(std::move(boot));
  return DurableId{*boot, id_, inum_, weak_};
}

Result<Netns> Netns::reopen(const DurableId& id) {
  auto boot = this_boot();
  if (!boot) return pass(std::move(boot));
  if (id.boot != *boot) {
    return fail(Errc::not_found, "network namespace " + id.text() + " was one of another boot of the machine",
                "no namespace outlives a restart");
  }
  auto ns = reopen_by_handle(id);
  if (ns && ns->id() != id.id) return fail(Errc::not_found, "network namespace " + id.text() + " is gone");
  if (ns || ns.error().code != Errc::unsupported) return ns;
  std::vector<Error> unreadable;
  auto entries = detail::list_entries(unreadable, 16);
  if (!entries) return pass(std::move(entries));
  for (const Entry& entry : *entries) {
    if (entry.id == id.id) return netns::open(entry);
  }
  const auto hidden = std::ranges::find(unreadable, Errc::permission, &Error::code);
  if (hidden != unreadable.end()) {
    return fail(Errc::permission,
                "whether network namespace " + id.text() + " still is there cannot be told: " + hidden->message,
                "run as root (CAP_SYS_ADMIN in the initial user namespace)");
  }
  return fail(Errc::not_found, "no network namespace with a name or a process is " + id.text());
}

}  // namespace weir::netns
