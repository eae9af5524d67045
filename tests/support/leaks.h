// What a command may leave behind on a host, as a snapshot before and a comparison after.
#pragma once

#include <bpf/bpf.h>
#include <linux/bpf.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "support/process.h"

namespace weir::test {

/// Everything named, each as one line: "bpf prog 12 data_receive", "netns weir-host", "mount /run/netns/weir-host", …
/// The fields of struct bpf_*_info that say what an object is for are part of the line.
class HostSnapshot {
 public:
  static HostSnapshot take() {
    HostSnapshot snapshot;
    snapshot.add_bpf();
    snapshot.add_folder("netns", "/run/netns");
    snapshot.add_tree("file", "/run/weir");
    snapshot.add_tree("pinned", "/sys/fs/bpf");
    snapshot.add_mounts();
    snapshot.add_lines("qdisc", run({"tc", "qdisc", "show"}).out);
    snapshot.add_lines("link", run({"ip", "-o", "-br", "link", "show"}).out);
    snapshot.add_processes();
    return snapshot;
  }

  /// What is there now and was not in this snapshot, and stays for longer than `grace`: kernel objects go a moment
  /// after the last reference, and other programs of the host come and go. Empty: nothing was left behind.
  [[nodiscard]] std::vector<std::string> leftovers(std::chrono::nanoseconds grace = std::chrono::seconds(15)) const {
    const auto still_new = [&](const std::set<std::string>& among) {
      std::vector<std::string> found;
      const HostSnapshot now = take();
      for (const std::string& line : now.lines_) {
        if (!lines_.contains(line) && (among.empty() || among.contains(line))) found.push_back(line);
      }
      return found;
    };
    std::vector<std::string> left = still_new({});
    const std::set<std::string> suspects(left.begin(), left.end());
    static_cast<void>(eventually([&] { return left.empty() || (left = still_new(suspects)).empty(); }, grace));
    return left;
  }

  /// What was in this snapshot and is not there any more: a command may not take things away either.
  [[nodiscard]] std::vector<std::string> missing() const {
    std::vector<std::string> gone;
    const HostSnapshot now = take();
    for (const std::string& line : lines_) {
      if (!now.lines_.contains(line)) gone.push_back(line);
    }
    return gone;
  }

 private:
  static std::string name_of(const char* name, std::size_t size) { return std::string(name, strnlen(name, size)); }

  void add_bpf() {
    for (__u32 id = 0; bpf_prog_get_next_id(id, &id) == 0;) {
      bpf_prog_info info{};
      __u32 size = sizeof(info);
      const sys::Fd fd(bpf_prog_get_fd_by_id(id));
      if (!fd.valid() || bpf_obj_get_info_by_fd(fd.get(), &info, &size) != 0) continue;
      lines_.insert("bpf prog " + std::to_string(id) + " " + name_of(info.name, sizeof(info.name)));
    }
    for (__u32 id = 0; bpf_map_get_next_id(id, &id) == 0;) {
      bpf_map_info info{};
      __u32 size = sizeof(info);
      const sys::Fd fd(bpf_map_get_fd_by_id(id));
      if (!fd.valid() || bpf_obj_get_info_by_fd(fd.get(), &info, &size) != 0) continue;
      lines_.insert("bpf map " + std::to_string(id) + " " + name_of(info.name, sizeof(info.name)));
    }
    for (__u32 id = 0; bpf_link_get_next_id(id, &id) == 0;) lines_.insert("bpf link " + std::to_string(id));
  }

  void add_folder(const std::string& kind, const std::string& folder) {
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
      lines_.insert(kind + " " + entry.path().filename().string());
    }
  }

  void add_tree(const std::string& kind, const std::string& folder) {
    std::error_code error;
    for (std::filesystem::recursive_directory_iterator it(folder, error), end; !error && it != end;
         it.increment(error)) {
      lines_.insert(kind + " " + it->path().string());
    }
  }

  /// By mount point: the numbers of a mount change when it is made again.
  void add_mounts() {
    std::ifstream file("/proc/self/mountinfo");
    for (std::string line; std::getline(file, line);) {
      std::istringstream words(line);
      std::string skipped, point;
      words >> skipped >> skipped >> skipped >> skipped >> point;
      // The folder of names itself is made a mount once on a host, by whoever names a namespace first (ip-netns(8)).
      if (point != "/run/netns") lines_.insert("mount " + point);
    }
  }

  void add_lines(const std::string& kind, const std::string& text) {
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) lines_.insert(kind + " " + line);
  }

  /// Living processes of the project, by number. Where PID 1 is slow to reap, the dead stay for a while.
  void add_processes() {
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
      std::ifstream file(entry.path() / "stat");
      std::string line;
      if (!std::getline(file, line)) continue;
      const std::size_t open = line.find('('), close = line.rfind(')');
      if (close == std::string::npos || line.substr(close, 3) == ") Z") continue;
      const std::string name = line.substr(open + 1, close - open - 1);
      if (name.starts_with("weir")) lines_.insert("process " + line.substr(0, open) + name);
    }
  }

  std::set<std::string> lines_;
};

}  // namespace weir::test
