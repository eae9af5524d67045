#include "observe/flows/flow_journal.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string_view>

#include "sys/fd.h"

namespace weir::observe {

namespace {

constexpr std::uint64_t kMagic = 0x3277'6F6C'6672'6577;  // of this shape of the files

/// Fields one after the other, as they are in memory.
class Writer {
 public:
  template <class T>
  void value(const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  template <class Container, class Each>
  void list(const Container& all, Each&& each) {
    value<std::uint64_t>(all.size());
    for (const auto& one : all) each(one);
  }
  /// Replaces the file as a whole.
  [[nodiscard]] Result<void> save(const std::string& path) const {
    const std::string half = path + ".new";
    {
      const sys::Fd fd(::open(half.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
      if (!fd.valid()) return fail_errno(errno, half);
      std::string_view left = bytes_;
      while (!left.empty()) {
        const ssize_t wrote = ::write(fd.get(), left.data(), left.size());
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote < 0) return fail_errno(errno, half);
        left.remove_prefix(static_cast<std::size_t>(wrote));
      }
    }
    if (::rename(half.c_str(), path.c_str()) != 0) return fail_errno(errno, path);
    return {};
  }

 private:
  std::string bytes_;
};

class Reader {
 public:
  explicit Reader(std::string bytes) : bytes_(std::move(bytes)) {}
  template <class T>
  T value() {
    T value{};
    if (bytes_.size() - at_ < sizeof value) {
      good_ = false;
      return value;
    }
    std::memcpy(&value, bytes_.data() + at_, sizeof value);
    at_ += sizeof value;
    return value;
  }
  template <class Each>
  void list(Each&& each) {
    for (auto left = value<std::uint64_t>(); good_ && left > 0; --left) each();
  }
  [[nodiscard]] bool good() const { return good_; }

 private:
  std::string bytes_;
  std::size_t at_ = 0;
  bool good_ = true;
};

/// Empty when there is no such file.
Reader open_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream bytes;
  bytes << file.rdbuf();
  return Reader(bytes.str());
}

void write_place(Writer& to, const FlowPlace& place) {
  to.value(place.netns);
  to.value(place.ifindex);
  to.value(static_cast<std::uint32_t>(place.direction));
}

FlowPlace read_place(Reader& from) {
  const auto netns = from.value<std::uint64_t>();
  const auto ifindex = from.value<std::uint32_t>();
  return {netns, ifindex, static_cast<model::FlowDirection>(from.value<std::uint32_t>())};
}

void write_counters(Writer& to, const InterfaceCounts& counters) {
  to.list(counters, [&](const auto& entry) {
    to.value(entry.first.first);
    to.value(entry.first.second);
    to.value(entry.second.rx_bytes);
    to.value(entry.second.tx_bytes);
    to.value(entry.second.rx_unsure);
    to.value(entry.second.tx_unsure);
  });
}

InterfaceCounts read_counters(Reader& from) {
  InterfaceCounts counters;
  from.list([&] {
    const auto netns = from.value<std::uint64_t>();
    InterfaceCount& count = counters[{netns, from.value<std::uint32_t>()}];
    count.rx_bytes = from.value<std::uint64_t>();
    count.tx_bytes = from.value<std::uint64_t>();
    count.rx_unsure = from.value<std::uint64_t>();
    count.tx_unsure = from.value<std::uint64_t>();
  });
  return counters;
}

void write_baseline(Writer& to, const FlowBaseline& table) {
  to.value(table.round);
  to.value<std::uint64_t>(table.rows.size());
  to.list(table.marked(), [&](std::uint32_t row) {
    to.value(row);
    to.value(table.rows[row]);
  });
  to.list(table.overflows, [&](const auto& entry) {
    write_place(to, entry.first);
    to.value(entry.second);
  });
  to.list(table.sketched, [&](const auto& entry) {
    to.value(entry.first);
    to.value(entry.second);
  });
}

FlowBaseline read_baseline(Reader& from) {
  constexpr std::uint64_t kMostRows = 1U << 24U;
  FlowBaseline table;
  table.round = from.value<std::uint64_t>();
  table.rows.resize(std::min(from.value<std::uint64_t>(), kMostRows));
  from.list([&] {
    const auto row = from.value<std::uint32_t>();
    const auto mark = from.value<FlowRowMark>();
    if (row < table.rows.size()) table.rows[row] = mark;
  });
  from.list([&] {
    const FlowPlace place = read_place(from);
    table.overflows[place] = from.value<weir_flow_overflow>();
  });
  from.list([&] {
    const auto id = from.value<weir_flow_id>();
    table.sketched[id] = from.value<weir_flow_count>();
  });
  return table;
}

}  // namespace

Result<void> FlowJournal::begin_window(const FlowHandover& window) {
  Writer to;
  to.value(kMagic);
  to.value(id_);
  to.value(++window_);
  to.value(window.began.count());
  to.value(window.began_at.time_since_epoch().count());
  write_baseline(to, window.table);
  write_counters(to, window.counters);
  return to.save(window_path());
}

Result<void> FlowJournal::take_out(std::uint64_t round, const std::map<FlowPlace, ForgottenFlows>& ended) {
  Writer to;
  to.value(kMagic);
  to.value(id_);
  to.value(window_);
  to.value(round);
  to.list(ended, [&](const auto& entry) {
    write_place(to, entry.first);
    to.value(entry.second);
  });
  return to.save(ended_path());
}

Result<std::optional<FlowHandover>> FlowJournal::read() {
  Reader from = open_file(window_path());
  if (from.value<std::uint64_t>() != kMagic || from.value<std::uint64_t>() != id_) return std::nullopt;
  FlowHandover window;
  window_ = from.value<std::uint64_t>();
  window.began = std::chrono::nanoseconds(from.value<std::chrono::nanoseconds::rep>());
  window.began_at = decltype(window.began_at)(std::chrono::nanoseconds(from.value<std::chrono::nanoseconds::rep>()));
  window.table = read_baseline(from);
  window.counters = read_counters(from);
  if (!from.good()) return fail(Errc::failed, window_path() + " is damaged");

  Reader ended = open_file(ended_path());
  if (ended.value<std::uint64_t>() != kMagic || ended.value<std::uint64_t>() != id_) return window;
  const bool same_window = ended.value<std::uint64_t>() == window_;
  const auto round = ended.value<std::uint64_t>();
  if (!ended.good() || !same_window) return window;
  window.table.round = round;
  ended.list([&] {
    const FlowPlace place = read_place(ended);
    window.table.ended[place] = ended.value<ForgottenFlows>();
  });
  if (!ended.good()) return fail(Errc::failed, ended_path() + " is damaged");
  return window;
}

}  // namespace weir::observe
