#include "observe/trace/drop_reasons.h"

#include <bpf/btf.h>
#include <fmt/format.h>

#include <array>
#include <memory>
#include <string_view>

#include "bpf/log.h"

namespace weir::observe {

namespace {

struct ReasonEnum {
  const char* type;
  std::string_view prefix;
};

constexpr std::array<ReasonEnum, 3> kReasonEnums{
    {{"skb_drop_reason", "SKB_DROP_REASON_"}, {"mac80211_drop_reason", "RX_DROP_"}, {"ovs_drop_reason", "OVS_DROP_"}}};

struct FreeReasonTypes {
  void operator()(btf* types) const { btf__free(types); }
};

}  // namespace

DropReasons DropReasons::load(const std::string& btf_path) {
  const bpf::LogCapture quiet;
  const std::unique_ptr<btf, FreeReasonTypes> types(btf_path.empty() ? btf__load_vmlinux_btf()
                                                                     : btf__parse(btf_path.c_str(), nullptr));
  std::map<std::uint32_t, std::string> names;
  if (!types) return DropReasons();
  for (const ReasonEnum& reason : kReasonEnums) {
    const int id = btf__find_by_name_kind(types.get(), reason.type, BTF_KIND_ENUM);
    if (id < 0) continue;
    const btf_type* type = btf__type_by_id(types.get(), static_cast<std::uint32_t>(id));
    const struct btf_enum* values = ::btf_enum(type);
    for (unsigned index = 0; index < btf_vlen(type); ++index) {
      std::string_view name = btf__name_by_offset(types.get(), values[index].name_off);
      if (reason.type == kReasonEnums.front().type && name.starts_with(reason.prefix)) {
        name.remove_prefix(reason.prefix.size());
      }
      names.try_emplace(static_cast<std::uint32_t>(values[index].val), name);
    }
  }
  return DropReasons(std::move(names));
}

std::string DropReasons::name(std::uint32_t number) const {
  const auto found = names_.find(number);
  return found == names_.end() ? fmt::format("#{}", number) : found->second;
}

}  // namespace weir::observe
