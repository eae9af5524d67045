#include "lab/state.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "netns/netns.h"
#include "sys/poll_until.h"

namespace weir::lab {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

namespace {

const fs::path kFolder = "/run/weir/lab";

std::string lock_path(const std::string& prefix) {
  return kFolder / (prefix + ".lock");
}

/// The process that took the lock of a file, as far as /proc/locks tells; 0 when nobody is to be found.
pid_t lock_holder(const std::string& path) {
  struct stat file {};
  if (stat(path.c_str(), &file) != 0) return 0;
  std::ifstream locks("/proc/locks");
  for (std::string line; std::getline(locks, line);) {
    std::istringstream words(line);
    std::string number, kind, mode, access, where;
    pid_t pid = 0;
    words >> number >> kind >> mode >> access >> pid >> where;
    if (kind == "FLOCK" && where.ends_with(fmt::format(":{}", file.st_ino))) return pid;
  }
  return 0;
}

Error held_by_another(const std::string& prefix, pid_t pid) {
  const auto record = read_record(prefix);
  const std::string scenario = record && *record ? " for " + (*record)->scenario : std::string();
  const std::string holder = pid > 0 ? fmt::format("process {}", pid) : std::string("another process");
  return Error{Errc::busy, fmt::format("the lab prefix '{}' is in use by {}{}", prefix, holder, scenario),
               "choose another one with --prefix, or wait until that lab ends", 0};
}

bool same_file(int fd, const std::string& path) {
  struct stat held {};
  struct stat named {};
  return fstat(fd, &held) == 0 && stat(path.c_str(), &named) == 0 && held.st_dev == named.st_dev &&
         held.st_ino == named.st_ino;
}

/// One attempt; an empty descriptor is "not now".
Result<sys::Fd> try_lock(const std::string& path) {
  std::error_code error;
  fs::create_directories(kFolder, error);
  if (error) return fail_errno(error.value(), kFolder);
  sys::Fd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (!fd.valid() && errno == ENOENT) return sys::Fd();  // the last lab removed the folder just now
  if (!fd.valid()) return fail_errno(errno, path);
  if (flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return fail_errno(errno, path);
    return sys::Fd();
  }
  // Its holder may have removed the file between our open and our lock.
  return same_file(fd.get(), path) ? std::move(fd) : sys::Fd();
}

/// Somebody alive has the lock. It outlives a killed taker for a moment: children that die with it hold it until the
/// kernel has ended them. No taker to be found: it has been given back since we asked.
bool is_held(const std::string& path) {
  const pid_t pid = lock_holder(path);
  return pid > 0 && (kill(pid, 0) == 0 || errno != ESRCH);
}

Result<Record> parse_record(const Json& document) {
  const Json& held = document.at("held");
  Record record;
  record.prefix = held.at("prefix").get<std::string>();
  record.scenario = document.at("scenario").get<std::string>();
  record.boot_id = held.at("boot_id").get<std::string>();
  record.pid = held.at("pid").get<pid_t>();
  record.kept = held.at("kept").get<bool>();
  for (const Json& row : held.at("made")) {
    record.namespaces.push_back({row.at("name").get<std::string>(), row.at("id").get<std::uint64_t>()});
  }
  return record;
}

}  // namespace

std::string record_path(const std::string& prefix) {
  return kFolder / (prefix + ".json");
}

std::string current_boot_id() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(file, id);
  return id;
}

Result<PrefixLock> PrefixLock::take(const std::string& prefix) {
  const std::string path = lock_path(prefix);
  Result<sys::Fd> taken = sys::Fd();
  static_cast<void>(sys::poll_until(std::chrono::steady_clock::now() + std::chrono::seconds(3), [&] {
    taken = try_lock(path);
    return !taken || taken->valid() || is_held(path);
  }));
  if (!taken) return pass(std::move(taken));
  if (taken->valid()) return PrefixLock(std::move(*taken), path);
  return std::unexpected(held_by_another(prefix, lock_holder(path)));
}

PrefixLock::~PrefixLock() {
  if (!fd_.valid()) return;
  unlink(path_.c_str());
  // Folders go when they are empty; another lab's files keep them.
  rmdir(kFolder.c_str());
  rmdir(kFolder.parent_path().c_str());
}

Result<void> write_record(const Record& record, const Blueprint& blueprint) {
  Json document = to_json(blueprint);
  Json made = Json::array();
  for (const MadeNamespace& netns : record.namespaces) made.push_back({{"name", netns.name}, {"id", netns.id}});
  document["held"] = {{"prefix", record.prefix},
                      {"boot_id", record.boot_id},
                      {"pid", record.pid},
                      {"kept", record.kept},
                      {"made", made}};
  const std::string path = record_path(record.prefix);
  const std::string fresh = path + ".new";
  {
    std::ofstream file(fresh, std::ios::trunc);
    file << document.dump(2) << '\n';
    if (!file.flush()) return fail_errno(errno, fresh);
  }
  if (rename(fresh.c_str(), path.c_str()) != 0) return fail_errno(errno, path);
  return {};
}

Result<std::optional<Record>> read_record(const std::string& prefix) {
  const std::string path = record_path(prefix);
  std::ifstream file(path);
  if (!file) return std::nullopt;
  try {
    auto record = parse_record(Json::parse(file));
    if (!record) return pass(std::move(record), path);
    return std::move(*record);
  } catch (const nlohmann::json::exception& error) {
    return fail(Errc::failed, fmt::format("{} is damaged: {}", path, error.what()),
                "remove the lab's namespaces with `ip netns del`, then this file");
  }
}

std::vector<std::string> recorded_prefixes() {
  std::vector<std::string> prefixes;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(kFolder, error)) {
    if (entry.path().extension() == ".json") prefixes.push_back(entry.path().stem());
  }
  std::ranges::sort(prefixes);
  return prefixes;
}

Result<void> remove_recorded(const Record& record) {
  // Namespaces do not outlive a boot, and a name of today is not ours then.
  if (record.boot_id == current_boot_id()) {
    for (const MadeNamespace& made : record.namespaces) {
      auto netns = netns::Netns::open("/run/netns/" + made.name);
      if (!netns && netns.error().code == Errc::not_found) continue;
      if (netns && made.id != 0 && netns->id() != made.id) continue;
      if (auto gone = netns::Netns::remove_named(made.name); !gone && gone.error().code != Errc::not_found) return gone;
    }
  }
  unlink((record_path(record.prefix) + ".new").c_str());
  if (unlink(record_path(record.prefix).c_str()) != 0 && errno != ENOENT) {
    return fail_errno(errno, record_path(record.prefix));
  }
  return {};
}

}  // namespace weir::lab
