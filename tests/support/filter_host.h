// A BPF object with two filter slots, loaded with filters in them, to be run on packets.
#pragma once

#include <bpf/libbpf.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "bpf/log.h"
#include "bpf/test_run.h"
#include "filter_slot.skel.h"

namespace weir::test {

/// The object file as it was compiled.
inline std::vector<std::byte> slot_image() {
  std::size_t size = 0;
  const auto* bytes = static_cast<const std::byte*>(filter_slot::elf_bytes(&size));
  return {bytes, bytes + size};
}

class FilterHost {
 public:
  /// Loads `image`; the error has the end of the verifier's log.
  static Result<FilterHost> load(const std::vector<std::byte>& image) {
    const bpf::LogCapture log;
    bpf_object_open_opts options{};
    options.sz = sizeof options;
    options.object_name = "weir_slots";
    FilterHost host;
    host.object_.reset(bpf_object__open_mem(image.data(), image.size(), &options));
    if (!host.object_) return std::unexpected(bpf::libbpf_error(errno, "open", log));
    if (const int err = bpf_object__load(host.object_.get()); err != 0) {
      return std::unexpected(bpf::libbpf_error(err, "load", log));
    }
    host.variables_ = bpf_object__find_map_by_name(host.object_.get(), "weir_slo.bss");
    if (host.variables_ == nullptr) return fail(Errc::failed, "no variables");
    if (auto found = host.run("remember"); !found) return pass(std::move(found));
    return host;
  }

  /// What the next runs see: `captured` bytes of a packet of `length`, with a VLAN tag beside it.
  Result<void> set_packet(const std::vector<std::uint8_t>& bytes, std::uint32_t length, std::uint32_t tag = 0) {
    const std::uint32_t key = 0;
    Variables variables{};
    const int map = bpf_map__fd(variables_);
    if (const int err = bpf_map_lookup_elem(map, &key, &variables); err != 0) return fail_errno(err, "read");
    std::ranges::copy(bytes, std::begin(variables.packet));
    variables.captured = static_cast<std::uint32_t>(bytes.size());
    variables.length = length;
    variables.tag = tag;
    if (const int err = bpf_map_update_elem(map, &key, &variables, BPF_ANY); err != 0) return fail_errno(err, "write");
    return {};
  }

  Result<bpf::TestRun> run(const char* program, int repeat = 1) {
    const std::array<std::byte, 64> frame{};
    __sk_buff context{};
    return bpf::test_run(bpf_program__fd(bpf_object__find_program_by_name(object_.get(), program)), frame, context,
                         repeat);
  }

 private:
  using Variables = std::remove_pointer_t<decltype(filter_slot::bss)>;
  struct Close {
    void operator()(bpf_object* object) const { bpf_object__close(object); }
  };
  FilterHost() = default;

  std::unique_ptr<bpf_object, Close> object_;
  bpf_map* variables_ = nullptr;
};

}  // namespace weir::test
