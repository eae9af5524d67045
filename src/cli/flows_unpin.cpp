// weir flows unpin: ends what `weir flows --pin` left counting.
#include <fmt/format.h>

#include <iostream>
#include <memory>

#include "cli/flows.h"
#include "model/json_writer.h"
#include "observe/dataplane/dataplane.h"

namespace weir::cli {

namespace {

struct UnpinOptions {
  std::string directory = FlowOptions{}.pin_directory;
  bool json = false;
};

Result<Exit> unpin(const UnpinOptions& options) {
  const auto was_pinned = observe::DataPlane::unpin(options.directory);
  if (!was_pinned) return std::unexpected(was_pinned.error());
  if (!options.json) {
    std::cout << (*was_pinned ? "unpinned " : "nothing is pinned in ") << options.directory << std::endl;
    return Exit::done;
  }
  model::JsonWriter to;
  to.object([&] {
    to.field("schema", "weir.unpin/1");
    to.field("directory", options.directory);
    to.field("was_pinned", *was_pinned);
  });
  std::cout << std::move(to).take() << std::endl;
  return Exit::done;
}

}  // namespace

void add_flow_unpin(CLI::App& flows, Program& program) {
  auto options = std::make_shared<UnpinOptions>();
  CLI::App* command = flows.add_subcommand("unpin", "End what --pin left counting, and take it away");
  add_pin_directory_option(*command, options->directory);
  add_json_option(*command, options->json);
  command->callback([options, &program] { program.action = [options] { return unpin(*options); }; });
}

}  // namespace weir::cli
