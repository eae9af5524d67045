#include "netns/bench/places.h"

#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <string_view>

#include "base/text.h"
#include "sys/file_tree.h"

namespace weir::netns::bench {

namespace {

struct Usage {
  std::int64_t slab = 0, percpu = 0, available = 0, resident = 0, descriptors = 0;
};

/// A line of /proc/meminfo, "Slab:   123 kB", in bytes; 0 when the kernel has no such line.
std::int64_t meminfo_bytes(std::string_view meminfo, std::string_view key) {
  for (const std::string_view line : split(meminfo, '\n')) {
    if (!line.starts_with(key) || !line.substr(key.size()).starts_with(':')) continue;
    std::string_view value = trim(line.substr(key.size() + 1));
    value = value.substr(0, value.find(' '));
    constexpr std::int64_t kKib = 1024;
    return static_cast<std::int64_t>(parse_u64(value).value_or(0)) * kKib;
  }
  return 0;
}

Result<Usage> read_usage() {
  auto root = sys::FileTree::open();
  if (!root) return pass(std::move(root));
  auto meminfo = root->text("proc/meminfo");
  if (!meminfo) return pass(std::move(meminfo));
  auto statm = root->text("proc/self/statm");
  if (!statm) return pass(std::move(statm));
  auto fds = root->directory("proc/self/fd");
  if (!fds) return pass(std::move(fds));
  const auto words = split(*statm, ' ');
  const std::uint64_t pages = words.size() > 1 ? parse_u64(words[1]).value_or(0) : 0;
  return Usage{.slab = meminfo_bytes(*meminfo, "Slab"),
               .percpu = meminfo_bytes(*meminfo, "Percpu"),
               .available = meminfo_bytes(*meminfo, "MemAvailable"),
               .resident = static_cast<std::int64_t>(pages) * ::sysconf(_SC_PAGESIZE),
               .descriptors = std::ssize(*fds)};
}

/// What to do about a namespace that could not be made, beyond what the library says.
Error with_limit_hint(Error error, std::size_t made) {
  error = std::move(error).with_context("namespace " + std::to_string(made + 1));
  if (error.sys_errno == ENOMEM && error.hint.empty()) error.hint = "a namespace takes about 250 KiB of kernel memory";
  return error;
}

}  // namespace

Result<void> allow_descriptors(std::size_t needed) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return fail_errno(errno, "RLIMIT_NOFILE");
  if (limit.rlim_cur >= needed) return {};
  rlimit raised = limit;
  raised.rlim_cur = limit.rlim_max;
  // More than the hard limit is for CAP_SYS_RESOURCE, and never more than fs.nr_open.
  if (limit.rlim_max < needed) raised.rlim_cur = raised.rlim_max = needed;
  if (::setrlimit(RLIMIT_NOFILE, &raised) == 0) return {};
  return fail(Errc::failed,
              std::to_string(needed) + " descriptors are needed and the limit of this process is " +
                  std::to_string(limit.rlim_max),
              "raise it (ulimit -Hn, sysctl fs.nr_open), or take fewer --namespaces or --connections");
}

Result<Places> make_places(std::size_t count, const Stop& stop) {
  using Clock = std::chrono::steady_clock;
  auto before = read_usage();
  if (!before) return pass(std::move(before));
  Places places;
  places.all.reserve(count);
  const auto start = Clock::now();
  while (places.all.size() < count && !stop()) {
    auto made = Netns::create();
    if (!made) return std::unexpected(with_limit_hint(std::move(made).error(), places.all.size()));
    places.all.push_back(std::move(*made));
  }
  const double elapsed_ns = std::chrono::duration<double, std::nano>(Clock::now() - start).count();
  auto after = read_usage();
  if (!after) return pass(std::move(after));
  const auto made = static_cast<double>(std::max<std::size_t>(places.all.size(), 1));
  places.footprint = {.namespaces = places.all.size(),
                      .create_ns = elapsed_ns / made,
                      .slab_bytes = after->slab - before->slab,
                      .percpu_bytes = after->percpu - before->percpu,
                      .available_bytes = before->available - after->available,
                      .resident_bytes = after->resident - before->resident,
                      .descriptors = after->descriptors - before->descriptors};
  return places;
}

}  // namespace weir::netns::bench
