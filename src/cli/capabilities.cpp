#include "cli/capabilities.h"

#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "model/json.h"

namespace weir::cli {

namespace {

struct Options {
  bool json = false;
  bpf::LadderOptions ladder;
};

void print_text(const model::Capabilities& capabilities) {
  fmt::print("Linux {}\n\n", capabilities.kernel);
  bool complete = true;
  for (const model::Rung& rung : capabilities.rungs) {
    fmt::print("  {}  {}\n", rung.available ? "yes" : "no ", rung.name);
    if (rung.available) continue;
    complete = false;
    fmt::print("       why         {}\n       without it  {}\n", rung.reason, rung.without_it);
  }
  if (!capabilities.has("tp_btf")) {
    fmt::print("\nWeir cannot watch packets on this kernel: it lacks tp_btf (see above).\n");
    return;
  }
  fmt::print("\n{}\n", complete ? "Everything that Weir can use is here. Next: weir doctor"
                                : "Weir works with what is here, within these limits. Next: weir doctor");
}

Result<Exit> run(const Options& options) {
  auto capabilities = find_capabilities(options.ladder);
  if (!capabilities) return pass(std::move(capabilities));
  if (options.json) {
    fmt::print("{}\n", model::to_text(model::to_json(*capabilities)));
  } else {
    print_text(*capabilities);
  }
  return Exit::done;
}

}  // namespace

Result<model::Capabilities> find_capabilities(const bpf::LadderOptions& options) {
  auto ladder = bpf::climb(options);
  if (!ladder) return pass(std::move(ladder));
  model::Capabilities capabilities{std::move(ladder->kernel), {}};
  for (bpf::LadderRung& rung : ladder->rungs) {
    capabilities.rungs.push_back(
        {std::move(rung.name), rung.available, std::move(rung.reason), std::move(rung.without_it)});
  }
  return capabilities;
}

void add_capabilities(CLI::App& app, Program& program) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("capabilities", "What this kernel offers, found by trying it");
  add_json_option(*command, options->json);
  add_btf_option(*command, options->ladder.btf_path);
  command->footer(
      "Examples:\n  weir capabilities\n  weir capabilities --json | jq '.rungs[] | select(.available | not)'");
  command->callback([options, &program] { program.action = [options] { return run(*options); }; });
}

}  // namespace weir::cli
