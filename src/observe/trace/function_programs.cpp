// Programs at functions of the kernel, by the best rung that it has.
#include <bpf/bpf.h>
#include <fmt/format.h>

#include <array>
#include <set>
#include <utility>

#include "bpf/log.h"
#include "observe/trace/functions.h"
#include "observe/trace/symbols.h"

namespace weir::observe::attach {

namespace {

/// By fentry each function has a program of its own, which takes a good part of a second to be verified.
constexpr std::size_t kMostFentries = 64;

using Programs = std::array<bpf_program*, kMostArguments>;

/// By number of the argument, less one: those that find their packet in a register.
Programs register_programs(trace& object) {
  auto& programs = object.progs;
  return {programs.trace_function1, programs.trace_function2, programs.trace_function3, programs.trace_function4,
          programs.trace_function5};
}

Programs fentry_programs(trace& object) {
  auto& programs = object.progs;
  return {programs.trace_fentry1, programs.trace_fentry2, programs.trace_fentry3, programs.trace_fentry4,
          programs.trace_fentry5};
}

/// A function may have been inlined everywhere, or be closed to probes; one such name would fail a whole list.
std::vector<PacketFunction> open_to_probes(std::vector<PacketFunction> functions, Attached& attached) {
  std::set<std::string> names;
  for (const PacketFunction& function : functions) names.insert(function.name);
  const std::set<std::string> open = Symbols::load().traceable(names);
  std::erase_if(functions, [&](const PacketFunction& function) {
    if (open.contains(function.name)) return false;
    attached.notes.push_back(fmt::format("fn:{}: closed to probes or inlined", function.name));
    return true;
  });
  return functions;
}

Result<void> choose_registers(trace& object, const FunctionPlan& plan) {
  for (const PacketFunction& function : plan.functions) {
    bpf_program* program = register_programs(object)[function.argument - 1];
    bpf_program__set_autoload(program, true);
    if (plan.rung != FunctionRung::kprobe) continue;
    const int err = bpf_program__set_expected_attach_type(program, static_cast<bpf_attach_type>(0));
    if (err != 0) return fail_errno(err, "making a program one for kprobes");
  }
  return {};
}

/// The object's own programs are for the first function with its packet in that place; others get copies of them.
Result<void> choose_fentry(trace& object, const FunctionPlan& plan) {
  if (plan.functions.size() > kMostFentries) {
    return fail(Errc::usage,
                fmt::format("--probe: {} functions match, {} is the most with fentry, which is what this kernel has",
                            plan.functions.size(), kMostFentries),
                "narrow the pattern");
  }
  for (const PacketFunction& function : plan.functions) {
    bpf_program* program = fentry_programs(object)[function.argument - 1];
    if (bpf_program__autoload(program)) continue;
    bpf_program__set_autoload(program, true);
    const int err = bpf_program__set_attach_target(program, 0, function.name.c_str());
    if (err != 0) return fail_errno(err, "fn:" + function.name);
  }
  return {};
}

Result<void> attach_at_once(trace& object, Attached& attached) {
  const std::vector<PacketFunction>& functions = attached.functions.functions;
  for (unsigned argument = 1; argument <= kMostArguments; ++argument) {
    std::vector<const char*> names;
    std::vector<__u64> cookies;
    for (std::size_t index = 0; index < functions.size(); ++index) {
      if (functions[index].argument != argument) continue;
      names.push_back(functions[index].name.c_str());
      cookies.push_back(WEIR_HOOK_FUNCTIONS + index);
    }
    if (names.empty()) continue;
    bpf_link_create_opts options{};
    options.sz = sizeof options;
    options.kprobe_multi.syms = names.data();
    options.kprobe_multi.cookies = cookies.data();
    options.kprobe_multi.cnt = static_cast<std::uint32_t>(names.size());
    auto link = bpf::Link::kprobe_multi(bpf_program__fd(register_programs(object)[argument - 1]), options);
    if (!link) return pass(std::move(link), "attaching to functions of the kernel");
    attached.links.push_back(*std::move(link));
    for (std::size_t index = 0; index < names.size(); ++index) {
      attached.hooks[static_cast<std::uint16_t>(cookies[index])] = fmt::format("kprobe:{}", names[index]);
    }
  }
  return {};
}

/// A loaded program once more, for another function.
Result<sys::Fd> load_copy(const bpf_program* program, const PacketFunction& function) {
  const bpf::LogCapture log;
  bpf_prog_load_opts options{};
  options.sz = sizeof options;
  options.expected_attach_type = BPF_TRACE_FENTRY;
  options.attach_btf_id = function.type;
  const int fd = ::bpf_prog_load(BPF_PROG_TYPE_TRACING, "trace_fentry", "Dual BSD/GPL", bpf_program__insns(program),
                                 bpf_program__insn_cnt(program), &options);
  if (fd < 0) return std::unexpected(bpf::libbpf_error(fd, "loading a program for " + function.name, log));
  return sys::Fd(fd);
}

/// Takes the link to a function over, or notes why there is none.
bool take(Attached& attached, Result<bpf::Link> link, std::uint16_t hook, const std::string& function) {
  if (!link) {
    attached.notes.push_back(fmt::format("fn:{}: {}", function, link.error().message));
    return false;
  }
  attached.links.push_back(*std::move(link));
  attached.hooks[hook] = fmt::format("kprobe:{}", function);
  return true;
}

Result<void> attach_fentry(trace& object, Attached& attached) {
  std::array<bool, kMostArguments> used{};
  for (std::size_t index = 0; index < attached.functions.functions.size(); ++index) {
    const PacketFunction& function = attached.functions.functions[index];
    const auto hook = static_cast<std::uint16_t>(WEIR_HOOK_FUNCTIONS + index);
    const bpf_program* own = fentry_programs(object)[function.argument - 1];
    int program = bpf_program__fd(own);
    if (std::exchange(used[function.argument - 1], true)) {
      auto copy = load_copy(own, function);
      if (!copy) return pass(std::move(copy));
      program = attached.programs.emplace_back(*std::move(copy)).get();
    }
    if (take(attached, bpf::Link::tracing(program, hook), hook, function.name)) attached.tracepoint_fds[hook] = program;
  }
  return {};
}

Result<void> attach_kprobes(trace& object, Attached& attached) {
  for (std::size_t index = 0; index < attached.functions.functions.size(); ++index) {
    const PacketFunction& function = attached.functions.functions[index];
    const auto hook = static_cast<std::uint16_t>(WEIR_HOOK_FUNCTIONS + index);
    const int program = bpf_program__fd(register_programs(object)[function.argument - 1]);
    take(attached, bpf::Link::kprobe(program, function.name, hook), hook, function.name);
  }
  return {};
}

}  // namespace

Result<void> choose_function_programs(trace& object, const btf* types, const TraceRequest& request,
                                      Attached& attached) {
  for (bpf_program* program : register_programs(object)) bpf_program__set_autoload(program, false);
  for (bpf_program* program : fentry_programs(object)) bpf_program__set_autoload(program, false);
  if (request.hooks.functions.empty()) return {};
  auto found = packet_functions(types, request.hooks.functions);
  if (!found) return pass(std::move(found));
  FunctionPlan& plan = attached.functions;
  if (request.functions_by && !has_function_rung(*request.functions_by, types)) {
    return fail(Errc::unsupported, fmt::format("functions of the kernel cannot be looked at by {} here",
                                               to_string(*request.functions_by)));
  }
  plan.rung = request.functions_by ? *request.functions_by : function_rung(types);
  if (plan.rung == FunctionRung::none) {
    attached.notes.emplace_back("functions: this kernel has neither kprobe.multi nor fentry nor kprobes for them");
    return {};
  }
  if (!request.functions_by && plan.rung != FunctionRung::kprobe_multi) {
    attached.notes.push_back(fmt::format("kprobe.multi: functions are looked at by {}", to_string(plan.rung)));
  }
  plan.functions = open_to_probes(*std::move(found), attached);
  return plan.rung == FunctionRung::fentry ? choose_fentry(object, plan) : choose_registers(object, plan);
}

Result<void> attach_functions(trace& object, Attached& attached) {
  const FunctionPlan& plan = attached.functions;
  switch (plan.rung) {
    case FunctionRung::kprobe_multi:
      return attach_at_once(object, attached);
    case FunctionRung::fentry:
      return attach_fentry(object, attached);
    case FunctionRung::kprobe:
      return attach_kprobes(object, attached);
    case FunctionRung::none:
      break;
  }
  return {};
}

}  // namespace weir::observe::attach
