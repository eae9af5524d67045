#include "observe/dataplane/layout.h"

#include <bpf/btf.h>

#include <cstring>
#include <string_view>

namespace weir::observe {

namespace {

/// Adds up a type by its structure, so that a member that moved within a struct of the same size is noticed.
class Layout {
 public:
  explicit Layout(const btf* types) : types_(types) {}

  void add(std::uint64_t number) { hash_ = hash_bytes(std::as_bytes(std::span(&number, 1)), hash_); }
  void add(std::string_view text) {
    add(text.size());
    hash_ = hash_bytes(std::as_bytes(std::span(text)), hash_);
  }
  void add_type(std::uint32_t id) {
    const btf_type* type = types_ == nullptr || id == 0 ? nullptr : btf__type_by_id(types_, skip_names(id));
    if (type == nullptr) return add(0);
    add(btf_kind(type));
    switch (btf_kind(type)) {
      case BTF_KIND_STRUCT:
      case BTF_KIND_UNION:
        add(type->size);
        return add_members(type);
      case BTF_KIND_ARRAY:
        add(btf_array(type)->nelems);
        return add_type(btf_array(type)->type);
      case BTF_KIND_DATASEC:
        return add_variables(type);
      case BTF_KIND_VAR:
        add(btf__name_by_offset(types_, type->name_off));
        return add_type(type->type);
      case BTF_KIND_PTR:
        return;
      default:
        add(type->size);
    }
  }
  [[nodiscard]] std::uint64_t hash() const { return hash_; }

 private:
  /// Past typedef, const, volatile and restrict.
  [[nodiscard]] std::uint32_t skip_names(std::uint32_t id) const {
    const btf_type* type = btf__type_by_id(types_, id);
    while (type != nullptr && (btf_is_mod(type) || btf_is_typedef(type))) {
      id = type->type;
      type = btf__type_by_id(types_, id);
    }
    return id;
  }
  void add_members(const btf_type* type) {
    for (std::uint32_t i = 0; i < btf_vlen(type); ++i) {
      const btf_member& member = btf_members(type)[i];
      add(btf__name_by_offset(types_, member.name_off));
      add(btf_member_bit_offset(type, i));
      add(btf_member_bitfield_size(type, i));
      add_type(member.type);
    }
  }
  void add_variables(const btf_type* section) {
    for (std::uint32_t i = 0; i < btf_vlen(section); ++i) {
      add(btf_var_secinfos(section)[i].offset);
      add_type(btf_var_secinfos(section)[i].type);
    }
  }

  const btf* types_;
  std::uint64_t hash_ = hash_bytes({});
};

}  // namespace

std::uint64_t hash_bytes(std::span<const std::byte> bytes, std::uint64_t hash) {
  for (const std::byte byte : bytes) hash = (hash ^ static_cast<std::uint64_t>(byte)) * 0x100000001B3ULL;
  return hash;
}

bool is_constants(const bpf_map* map) {
  return bpf_map__is_internal(map) && std::string_view(bpf_map__name(map)).ends_with(".rodata");
}

std::uint64_t layout_hash(const bpf_object* object) {
  Layout layout(bpf_object__btf(object));
  bpf_map* map = nullptr;
  while ((map = bpf_object__next_map(object, map)) != nullptr) {
    if (is_constants(map)) continue;
    layout.add(bpf_map__name(map));
    layout.add(bpf_map__type(map));
    layout.add(bpf_map__map_flags(map));
    layout.add(bpf_map__max_entries(map));
    layout.add(bpf_map__key_size(map));
    layout.add(bpf_map__value_size(map));
    layout.add_type(bpf_map__btf_key_type_id(map));
    layout.add_type(bpf_map__btf_value_type_id(map));
  }
  return layout.hash();
}

}  // namespace weir::observe
