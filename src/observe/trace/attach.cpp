#include "observe/trace/attach.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <fmt/format.h>
// The library's header first: the kernel's then leaves out what both define.
// clang-format off
#include <netinet/in.h>
#include <linux/netfilter.h>
// clang-format on

#include <algorithm>
#include <array>
#include <memory>
#include <set>

#include "netns/netns.h"
#include "observe/trace/functions.h"
#include "observe/trace/types.h"

namespace weir::observe::attach {

namespace {

/// A priority can be held by one BPF link a hook: a second trace takes the next one outwards.
constexpr int kPriorityTries = 16;

/// Number of arguments of a tracepoint, without the private first one; -1 when there is no such tracepoint.
int tracepoint_arguments(const btf* types, std::string_view event) {
  const std::string name = fmt::format("btf_trace_{}", event);
  const int id = btf__find_by_name_kind(types, name.c_str(), BTF_KIND_TYPEDEF);
  if (id < 0) return -1;
  const btf_type* type = btf__type_by_id(types, btf__type_by_id(types, static_cast<std::uint32_t>(id))->type);
  if (type == nullptr || !btf_is_ptr(type)) return -1;
  const btf_type* prototype = btf__type_by_id(types, type->type);
  return prototype == nullptr ? -1 : btf_vlen(prototype) - 1;
}

bpf_program* program_of(trace& object, std::string_view name) {
  return bpf_object__find_program_by_name(object.obj, std::string(name).c_str());
}

Result<bpf::Link> attach_nf(int program, std::uint32_t family, std::uint32_t hook, std::int32_t priority) {
  const std::int32_t step = priority == 0 || priority > 1 ? 1 : -1;
  for (int attempt = 0;; ++attempt) {
    auto link = bpf::Link::netfilter(program, {.family = family, .hook = hook, .priority = priority + attempt * step});
    if (link || link.error().code != Errc::busy || attempt + 1 == kPriorityTries) return link;
  }
}

Result<void> attach_nf_here(trace& object, const TraceRequest& request, Attached& attached) {
  for (const unsigned index : request.hooks.nf_slots) {
    const NfSlot& slot = nf_slots()[index];
    const int program = bpf_program__fd(program_of(object, slot.program));
    for (std::uint32_t hook = 0; hook < nf_hooks().size(); ++hook) {
      for (const std::uint32_t family : {NFPROTO_IPV4, NFPROTO_IPV6}) {
        auto link = attach_nf(program, family, hook, slot.priority);
        if (!link) return pass(std::move(link), fmt::format("nf:{}:{}", nf_hooks()[hook], slot.name));
        attached.links.push_back(*std::move(link));
      }
      const auto number = static_cast<std::uint16_t>(WEIR_HOOK_NF + hook * WEIR_NF_SLOTS + index);
      attached.hooks[number] = fixed_hook_name(number);
    }
  }
  return {};
}

Result<void> attach_tcx_here(trace& object, const model::DeviceRef& device, Attached& attached) {
  const struct {
    bpf_program* program;
    bpf::TcSide side;
    std::uint16_t number;
  } sides[] = {{object.progs.trace_tcx_ingress, bpf::TcSide::ingress, WEIR_HOOK_TCX_INGRESS},
               {object.progs.trace_tcx_egress, bpf::TcSide::egress, WEIR_HOOK_TCX_EGRESS}};
  for (const auto& [program, side, number] : sides) {
    auto link = bpf::Link::tcx(bpf_program__fd(program), device.ifindex, side);
    if (!link && link.error().code == Errc::not_found) return {};  // it went away meanwhile
    if (!link) return pass(std::move(link), to_string(device));
    attached.links.push_back(*std::move(link));
    attached.hooks[number] = fixed_hook_name(number);
  }
  return {};
}

/// Runs `attach` inside each namespace; one that went away meanwhile is left out.
template <class Attach>
Result<void> in_namespace(const model::NetnsRef& ref, Attach&& attach) {
  auto ns = netns::Netns::open(fmt::format("id:{}", ref.id));
  if (!ns && ns.error().code == Errc::not_found) return {};
  if (!ns) return pass(std::move(ns), ref.name);
  return netns::run_in(*ns, attach);
}

Result<void> attach_in_namespaces(trace& object, const TraceRequest& request, Attached& attached) {
  if (!request.hooks.nf_slots.empty()) {
    for (const model::NetnsRef& ref : request.nf_namespaces) {
      auto done = in_namespace(ref, [&] { return attach_nf_here(object, request, attached); });
      if (!done) return pass(std::move(done), "netfilter in " + ref.name);
    }
  }
  if (request.hooks.tcx) {
    for (const model::DeviceRef& device : request.tcx_devices) {
      auto done = in_namespace(device.netns, [&] { return attach_tcx_here(object, device, attached); });
      if (!done) return pass(std::move(done), "tcx");
    }
  }
  return {};
}

Result<void> attach_tracepoints(trace& object, const TraceRequest& request, Attached& attached) {
  for (const Tracepoint& one : tracepoints()) {
    if (!std::ranges::binary_search(request.hooks.tracepoints, one.number)) continue;
    bpf_program* program = program_of(object, fmt::format("trace_{}", one.program));
    if (!bpf_program__autoload(program)) continue;
    auto link = bpf::Link::tracepoint(bpf_program__fd(program));
    if (!link) return pass(std::move(link), std::string(one.name));
    attached.links.push_back(*std::move(link));
    attached.hooks[one.number] = one.name;
    attached.tracepoint_fds[one.number] = bpf_program__fd(program);
  }
  return {};
}

void choose_tracepoints(trace& object, const TraceRequest& request, const btf* types, Attached& attached) {
  object.rodata->drop_has_reason = tracepoint_arguments(types, "kfree_skb") >= 3;
  for (const Tracepoint& one : tracepoints()) {
    bool wanted = std::ranges::binary_search(request.hooks.tracepoints, one.number);
    if (wanted && tracepoint_arguments(types, one.program) < one.arguments) {
      attached.notes.push_back(fmt::format("{}: this kernel does not have it", one.name));
      wanted = false;
    }
    bpf_program__set_autoload(program_of(object, fmt::format("trace_{}", one.program)), wanted);
  }
}

}  // namespace

Result<void> choose_programs(trace& object, const TraceRequest& request, Attached& attached) {
  const Types types = load_types(request.btf_path);
  if (!types) return fail(Errc::unsupported, "there is no type information (BTF) of this kernel");
  choose_tracepoints(object, request, types.get(), attached);
  for (unsigned index = 0; index < nf_slots().size(); ++index) {
    bpf_program* program = program_of(object, nf_slots()[index].program);
    const bool wanted = std::ranges::find(request.hooks.nf_slots, index) != request.hooks.nf_slots.end();
    bpf_program__set_autoload(program, wanted);
    if (!wanted) continue;
    if (auto typed = bpf::set_netfilter_type(program); !typed) return typed;
  }
  for (bpf_program* program : {object.progs.trace_tcx_ingress, object.progs.trace_tcx_egress}) {
    bpf_program__set_autoload(program, request.hooks.tcx);
    if (!request.hooks.tcx) continue;
    if (auto typed = bpf::set_tc_type(program); !typed) return typed;
  }
  return choose_function_programs(object, types.get(), request, attached);
}

Result<void> attach_programs(trace& object, const TraceRequest& request, Attached& attached) {
  // The ends first: a packet that is taken up should not get away unseen.
  if (auto done = attach_tracepoints(object, request, attached); !done) return done;
  if (auto done = attach_in_namespaces(object, request, attached); !done) return done;
  if (auto done = attach_functions(object, attached); !done) return done;
  if (attached.links.empty()) {
    std::string why;
    for (const std::string& note : attached.notes) why += (why.empty() ? "" : "; ") + note;
    return fail(Errc::unsupported, "no hook could be attached", why);
  }
  return {};
}

}  // namespace weir::observe::attach
