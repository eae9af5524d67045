// weir: the one binary.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <exception>

#include "cli/command.h"

namespace {

using weir::Errc;
using weir::cli::Exit;

Exit exit_of(Errc code) {
  switch (code) {
    case Errc::usage:
      return Exit::usage;
    case Errc::unsupported:
    case Errc::permission:
      return Exit::cannot;
    case Errc::failed:
    case Errc::not_found:
    case Errc::busy:
      break;
  }
  return Exit::failed;
}

int report(const weir::Error& error) {
  fmt::print(stderr, "weir: {}\n", error.message);
  if (!error.hint.empty()) fmt::print(stderr, "      {}\n", error.hint);
  return static_cast<int>(exit_of(error.code));
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Weir sees, explains and steers the network of a Linux host that many tenants share.", "weir"};
  app.set_version_flag("--version", "weir " WEIR_VERSION);
  app.require_subcommand(0, 1);
  weir::cli::Program program;
  weir::cli::add_doctor(app, program);
  weir::cli::add_queues(app, program);
  weir::cli::add_capabilities(app, program);
  weir::cli::add_lab(app, program);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    fmt::print(stderr, "weir: {}\n", error.what());
    return static_cast<int>(Exit::usage);
  }
  if (!program.action) {
    fmt::print("{}", app.help());
    return static_cast<int>(Exit::usage);
  }
  auto result = program.action();
  if (!result) return report(result.error());
  return static_cast<int>(*result);
}
