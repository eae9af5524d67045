// trace_rate: whether `weir trace` accounts for every packet of a network that carries as many as it can, by the
// counters of its devices; with a ring that is made too small, too.
#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "exit_code.h"
#include "network.h"
#include "pinned.h"
#include "sys/signal.h"
#include "tools.h"

namespace weir::bench {
namespace {

using nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kBurst = 4096;
constexpr const char* kHook = "net:net_dev_queue";

struct Form {
  std::string name;
  std::string options;
  std::string ready;
};

/// All that is sent, and nothing else of this host: what is left of the books is its own traffic.
std::vector<Form> forms() {
  const std::string filter = fmt::format("'udp and dst host {}'", PairNetwork::kDestination);
  const std::string two = "--probe net_dev_queue --probe netif_receive_skb ";
  return {
      {"record-1, ring of 4k", "-o $D/file.weir --ring 4k --probe net_dev_queue " + filter, "hooks into"},
      {"sample-1, 1 flow in 64", "-o $D/file.weir --sample 64 --probe net_dev_queue " + filter, "hooks into"},
      {"record-2", "-o $D/file.weir " + two + filter, "hooks into"},
      {"record-2, ring of 64k", "-o $D/file.weir --ring 64k " + two + filter, "hooks into"},
      {"record, ring of 64k", "-o $D/file.weir --ring 64k " + filter, "hooks into"},
      {"paths", "--paths " + filter, "counting paths"},
      {"watch", "--watch queue_mapping,mark,len " + filter, "watching"},
  };
}

struct Row {
  std::string name;
  std::uint64_t sent = 0;    ///< by the counter of the sender's device
  std::uint64_t taken = 0;   ///< by the counter of the other device
  double rate = 0;           ///< packets a second that the network carried meanwhile
  ordered_json total;        ///< the books of all hooks
  ordered_json at_the_hook;  ///< those of the hook that each packet passes once
  bool balanced = true;      ///< each hook's books and their sum

  [[nodiscard]] std::uint64_t accounted() const {
    return at_the_hook["emitted"].get<std::uint64_t>() + at_the_hook["lost"].get<std::uint64_t>() +
           at_the_hook["sampled_out"].get<std::uint64_t>();
  }
  [[nodiscard]] bool sound() const { return total.is_null() || (balanced && accounted() == sent && sent == taken); }
};

std::uint64_t number(const ordered_json& account, const char* key) {
  return account.value(key, std::uint64_t{0});
}

bool is_balanced(const ordered_json& account) {
  return number(account, "seen") == number(account, "emitted") + number(account, "filtered") +
                                        number(account, "sampled_out") + number(account, "lost");
}

/// The last line of what the trace said: its summary, or a document with it.
ordered_json summary_of(const std::filesystem::path& said) {
  std::ifstream file(said);
  const std::string text(std::istreambuf_iterator<char>(file), {});
  ordered_json document = ordered_json::parse(text, nullptr, false);
  return document.is_object() && document.contains("summary") ? document["summary"] : document;
}

Result<void> flood(const PairNetwork& network, double seconds, int cpu) {
  const auto pinned = Pinned::on(cpu);
  if (!pinned) return std::unexpected(pinned.error());
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  while (Clock::now() < end) {
    if (auto done = network.send(kBurst); !done) return done;
  }
  return {};
}

/// Floods the network and fills in what its counters say.
Result<void> measure(const PairNetwork& network, double seconds, int cpu, Row& row) {
  const auto before = network.counters();
  if (!before) return std::unexpected(before.error());
  const auto begin = Clock::now();
  if (auto done = flood(network, seconds, cpu); !done) return done;
  const double took = std::chrono::duration<double>(Clock::now() - begin).count();
  const auto after = network.counters();
  if (!after) return std::unexpected(after.error());
  row.sent = after->sent - before->sent;
  row.taken = after->taken - before->taken;
  row.rate = static_cast<double>(row.sent) / took;
  return {};
}

Result<Row> try_form(const PairNetwork& network, const Form& form, const std::filesystem::path& weir, double seconds) {
  Row row{.name = form.name, .total = {}, .at_the_hook = {}};
  const Tool tool{
      .name = form.name,
      .what = form.options,
      .script = fmt::format("exec taskset -c 1 '{}' trace --json {} > $D/said 2> $D/err", weir.native(), form.options),
      .ready = form.ready,
      .has_programs = true,
      .counted = [&row](const std::filesystem::path& folder) -> std::optional<std::uint64_t> {
        row.total = summary_of(folder / "said");
        if (!row.total.is_object()) return std::nullopt;
        return number(row.total, "lost");
      }};
  auto running = RunningTool::start(tool, network.sender_fd());
  if (!running) return pass(std::move(running));
  if (auto measured = measure(network, seconds, 0, row); !measured) return pass(std::move(measured));
  const auto lost = running->finish();
  if (!lost) return std::unexpected(lost.error());
  if (!*lost || !row.total.contains("hooks")) return fail(Errc::failed, form.name + ": the trace kept no books");
  row.balanced = is_balanced(row.total);
  for (const auto& [name, account] : row.total["hooks"].items()) row.balanced = row.balanced && is_balanced(account);
  row.at_the_hook = row.total["hooks"].value(kHook, ordered_json::object());
  return row;
}

void print(const Row& row) {
  if (row.total.is_null()) {
    fmt::print("{:<24}{:>12.0f}{:>12}\n", row.name, row.rate, row.sent);
    return;
  }
  const auto unaccounted = static_cast<std::int64_t>(row.sent) - static_cast<std::int64_t>(row.accounted());
  fmt::print("{:<24}{:>12.0f}{:>12}{:>12}{:>12}{:>12}{:>10}{:>14}  {}\n", row.name, row.rate, row.sent,
             number(row.at_the_hook, "emitted"), number(row.at_the_hook, "lost"), number(row.total, "seen"),
             number(row.total, "missed"), unaccounted, row.balanced ? "yes" : "NO");
}

ordered_json to_json(const Row& row) {
  return {{"form", row.name},         {"packets_per_second", row.rate},
          {"sent", row.sent},         {"received", row.taken},
          {"hook", row.at_the_hook},  {"total", row.total},
          {"balanced", row.balanced}, {"sound", row.sound()}};
}

Result<std::vector<Row>> run(double seconds, bool json) {
  auto network = PairNetwork::build();
  if (!network) return pass(std::move(network));
  const std::filesystem::path weir = std::filesystem::canonical("/proc/self/exe").parent_path().parent_path() / "weir";
  std::vector<Row> rows{Row{.name = "nothing attached", .total = {}, .at_the_hook = {}}};
  if (auto measured = measure(*network, seconds, 0, rows[0]); !measured) return pass(std::move(measured));
  if (!json) {
    fmt::print("{:<24}{:>12}{:>12}{:>12}{:>12}{:>12}{:>10}{:>14}  {}\n", "", "packets/s", "sent", "emitted", "lost",
               "seen, all", "missed", "unaccounted", "adds up");
    print(rows[0]);
  }
  for (const Form& form : forms()) {
    auto row = try_form(*network, form, weir, seconds);
    if (!row) return pass(std::move(row));
    rows.push_back(*std::move(row));
    if (!json) print(rows.back());
  }
  return rows;
}

}  // namespace
}  // namespace weir::bench

int main(int argc, char** argv) {
  CLI::App app("Whether weir trace accounts for every packet while as many pass as the network carries");
  double seconds = 3;
  bool json = false;
  app.add_option("--seconds", seconds, "Of each form")->check(CLI::Range(0.1, 600.0));
  app.add_flag("--json", json, "One document instead of a table");
  CLI11_PARSE(app, argc, argv);
  const auto rows = weir::bench::run(seconds, json);
  if (!rows) {
    fmt::print(stderr, "trace_rate: {}\n", rows.error().message);
    return weir::bench::exit_code(rows.error());
  }
  bool sound = true;
  weir::bench::ordered_json document{{"schema", "weir.trace_rate/1"}};
  for (const auto& row : *rows) {
    sound = sound && row.sound();
    document["forms"].push_back(weir::bench::to_json(row));
  }
  if (json) fmt::print("{}\n", document.dump(1));
  return sound ? 0 : 1;
}
