#include "tools.h"

#include <fmt/format.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string_view>
#include <thread>

#include "base/text.h"

namespace weir::bench {

namespace {

constexpr int kNotInstalled = 127;  // sh: no such command
constexpr std::chrono::seconds kStartLimit{30};
constexpr std::chrono::seconds kEndLimit{60};
constexpr std::chrono::milliseconds kLookEvery{10};

// bpftrace 0.17 and perf look for tracefs; a host that has it mounted elsewhere gets it over itself, unseen outside.
constexpr const char* kTracefs =
    "mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null\n"
    "mount -t tracefs tracefs /sys/kernel/debug/tracing 2>/dev/null\n"
    "mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null\n";

std::string text_of(const std::filesystem::path& file) {
  std::ifstream in(file);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

/// The first number before (`step` -1) or behind (+1) each occurrence of a word, summed up; nullopt without any.
std::optional<std::uint64_t> numbers_by(const std::string& text, std::string_view word, int step) {
  std::optional<std::uint64_t> sum;
  std::vector<std::string> words;
  std::istringstream stream(text);
  for (std::string one; stream >> one;) words.push_back(one);
  for (std::size_t at = 0; at < words.size(); ++at) {
    if (words[at] != word) continue;
    const std::size_t other = at + static_cast<std::size_t>(step);
    if (other >= words.size()) continue;
    std::string digits = words[other];
    while (!digits.empty() && (digits.back() == ';' || digits.back() == ',')) digits.pop_back();
    if (const auto number = parse_u64(digits)) sum = sum.value_or(0) + *number;
  }
  return sum;
}

std::optional<std::uint64_t> lost_by_weir(const std::filesystem::path& folder) {
  const std::string said = text_of(folder / "said") + text_of(folder / "err");
  // "seen 10 = emitted 8 + filtered 0 + sampled out 0 + lost 2; …": of all hooks together.
  const std::size_t line = said.rfind("seen ");
  return line == std::string::npos ? std::nullopt
                                   : numbers_by(said.substr(line, said.find('\n', line) - line), "lost", 1);
}

std::optional<std::uint64_t> lost_by_tcpdump(const std::filesystem::path& folder) {
  const std::string said = text_of(folder / "err");
  for (const std::string_view line : split(said, '\n')) {
    if (line.find("dropped by kernel") == std::string_view::npos) continue;
    return parse_u64(line.substr(0, line.find(' ')));
  }
  return std::nullopt;
}

std::optional<std::uint64_t> lost_by_bpftrace(const std::filesystem::path& folder) {
  return numbers_by(text_of(folder / "said") + text_of(folder / "err"), "Lost", 1).value_or(0);
}

std::optional<std::uint64_t> lost_by_perf(const std::filesystem::path& folder) {
  const auto stats = sys::run_command({"perf", "report", "--stats", "-i", folder / "perf.data"}, kEndLimit);
  if (!stats || !stats->status.success()) return std::nullopt;
  std::uint64_t lost = 0;
  for (const std::string_view line : split(stats->out, '\n')) {
    // "LOST events: 3  (0.1%)" counts records that each stand for many; LOST_SAMPLES has the number itself.
    for (const std::string_view word : {"LOST events:", "LOST_SAMPLES events:"}) {
      const std::size_t at = line.find(word);
      if (at == std::string_view::npos) continue;
      const std::string_view rest = trim(line.substr(at + word.size()));
      lost += parse_u64(rest.substr(0, rest.find(' '))).value_or(0);
    }
  }
  return lost;
}

Tool weir_tool(const std::filesystem::path& weir, const std::string& name, const std::string& what,
               const std::string& options, const std::string& ready) {
  return {.name = name,
          .what = what,
          .script = fmt::format("exec '{}' trace {} > $D/said 2> $D/err", weir.native(), options),
          .ready = ready,
          .has_programs = true,
          .counted = lost_by_weir};
}

Tool bpftrace_tool(const std::string& name, const std::string& what, const std::string& action, bool records) {
  // The last probe tells that the others are there: all are attached before timers are waited for.
  return {.name = name,
          .what = what,
          .script = fmt::format(
              "{}exec bpftrace -e '\n"
              "tracepoint:net:net_dev_queue {{ {} }}\n"
              "tracepoint:net:netif_receive_skb {{ {} }}\n"
              "interval:ms:100 {{ if (!@ready) {{ @ready = 1; printf(\"at work\\n\"); }} }}' > $D/said 2> $D/err",
              kTracefs, action, action),
          .ready = "at work",
          .has_programs = true,
          .records = records,
          .counted = lost_by_bpftrace};
}

}  // namespace

std::vector<Tool> tools(const std::filesystem::path& weir) {
  const std::string two = "--probe net_dev_queue --probe netif_receive_skb";
  return {
      weir_tool(weir, "weir-record-2", "weir trace -o FILE at 2 hooks", two + " -o $D/file.weir", "hooks into"),
      weir_tool(weir, "weir-record", "weir trace -o FILE at the default hooks", "-o $D/file.weir", "hooks into"),
      weir_tool(weir, "weir-print-2", "weir trace printing journeys at 2 hooks", two, "tracing"),
      {.name = "tcpdump",
       .what = "tcpdump -i any -w FILE in the router's namespace",
       .script = "exec tcpdump -Z root -i any -w $D/file.pcap > $D/said 2> $D/err",
       .ready = "listening on",
       .counted = lost_by_tcpdump},
      bpftrace_tool("bpftrace-print", "bpftrace printing a line a packet at the 2 hooks",
                    "printf(\"%s %d\\n\", str(args->name), args->len);", true),
      bpftrace_tool("bpftrace-count", "bpftrace counting packets by device name at the 2 hooks",
                    "@[str(args->name)] = count();", false),
      {.name = "perf",
       .what = "perf record -a -e 'net:*,skb:*'",
       .script = fmt::format("{}mkfifo $D/control $D/answer\n"
                             "(echo enable > $D/control; cat $D/answer > $D/said) &\n"
                             "exec perf record -a -D -1 --control fifo:$D/control,$D/answer -e 'net:*,skb:*' "
                             "-o $D/perf.data > /dev/null 2> $D/err",
                             kTracefs),
       .ready = "ack",
       .counted = lost_by_perf},
  };
}

Result<RunningTool> RunningTool::start(const Tool& tool, int netns_fd) {
  RunningTool running;
  running.tool_ = tool;
  std::string folder = "/dev/shm/weir-bench-XXXXXX";
  if (::mkdtemp(folder.data()) == nullptr) return fail_errno(errno, "cannot make a folder in /dev/shm");
  running.folder_ = folder;
  auto process = sys::Process::spawn({"unshare", "--mount", "sh", "-c", fmt::format("D={}\n{}", folder, tool.script)},
                                     {.die_with_parent = true, .netns_fd = netns_fd, .own_group = true});
  if (!process) return pass(std::move(process));
  running.process_.emplace(*std::move(process));
  const auto deadline = std::chrono::steady_clock::now() + kStartLimit;
  while (true) {
    const std::string err = text_of(running.folder_ / "err");
    if (err.find(tool.ready) != std::string::npos ||
        text_of(running.folder_ / "said").find(tool.ready) != std::string::npos) {
      return running;
    }
    const auto ended = running.process_->wait(kLookEvery);
    if (!ended) return std::unexpected(ended.error());
    if (*ended && (*ended)->code == kNotInstalled) return fail(Errc::not_found, tool.name + " is not installed");
    if (*ended) return fail(Errc::failed, fmt::format("{} does not run here: {}", tool.name, trim(err)));
    if (std::chrono::steady_clock::now() > deadline) return fail(Errc::failed, tool.name + " did not start its work");
  }
}

Result<std::optional<std::uint64_t>> RunningTool::finish() {
  if (auto asked = process_->signal(SIGINT); !asked) return pass(std::move(asked));
  const auto ended = process_->wait(kEndLimit);
  if (!ended) return std::unexpected(ended.error());
  if (!*ended) return fail(Errc::failed, tool_.name + " did not end");
  return tool_.counted ? tool_.counted(folder_) : std::nullopt;
}

RunningTool::~RunningTool() {
  if (process_) {
    if (process_->signal(SIGINT)) static_cast<void>(process_->wait(kEndLimit));
    process_.reset();
  }
  std::error_code ignored;
  if (!folder_.empty()) std::filesystem::remove_all(folder_, ignored);
}

}  // namespace weir::bench
