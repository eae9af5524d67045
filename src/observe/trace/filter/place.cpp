#include "observe/trace/filter/place.h"

#include <elf.h>

#include <cstring>
#include <optional>
#include <string>

namespace weir::observe {

namespace {

/// Reads and writes what lies at offsets of a file, which may be wrong and need not be aligned.
class ObjectFile {
 public:
  explicit ObjectFile(std::span<std::byte> bytes) : bytes_(bytes) {}

  [[nodiscard]] bool holds(std::uint64_t offset, std::uint64_t size) const {
    return offset <= bytes_.size() && size <= bytes_.size() - offset;
  }
  template <class T>
  [[nodiscard]] std::optional<T> read(std::uint64_t offset) const {
    if (!holds(offset, sizeof(T))) return std::nullopt;
    T out{};
    std::memcpy(&out, bytes_.data() + offset, sizeof(T));
    return out;
  }
  void write(std::uint64_t offset, const void* from, std::size_t size) {
    std::memcpy(bytes_.data() + offset, from, size);
  }

  [[nodiscard]] bool is_bpf_object() const {
    const auto header = read<Elf64_Ehdr>(0);
    return header && std::memcmp(header->e_ident, ELFMAG, SELFMAG) == 0 && header->e_ident[EI_CLASS] == ELFCLASS64 &&
           header->e_ident[EI_DATA] == ELFDATA2LSB && header->e_type == ET_REL && header->e_machine == EM_BPF &&
           header->e_shentsize == sizeof(Elf64_Shdr);
  }
  [[nodiscard]] std::size_t sections() const { return read<Elf64_Ehdr>(0)->e_shnum; }
  [[nodiscard]] std::optional<Elf64_Shdr> section(std::size_t index) const {
    const auto header = read<Elf64_Ehdr>(0);
    if (index >= header->e_shnum) return std::nullopt;
    const auto found = read<Elf64_Shdr>(header->e_shoff + index * sizeof(Elf64_Shdr));
    if (!found || (found->sh_type != SHT_NOBITS && !holds(found->sh_offset, found->sh_size))) return std::nullopt;
    return found;
  }
  /// Whether the string at `offset` of the string table in section `table` is `name`.
  [[nodiscard]] bool is_named(std::size_t table, std::uint64_t offset, std::string_view name) const {
    const auto strings = section(table);
    if (!strings || strings->sh_type != SHT_STRTAB || offset > strings->sh_size ||
        name.size() >= strings->sh_size - offset) {
      return false;
    }
    const std::byte* at = bytes_.data() + strings->sh_offset + offset;
    return std::memcmp(at, name.data(), name.size()) == 0 && at[name.size()] == std::byte{0};
  }

 private:
  std::span<std::byte> bytes_;
};

/// A function of the file.
struct Function {
  std::uint64_t symbol_at = 0;  ///< where its symbol is in the file
  Elf64_Sym symbol{};
  std::uint64_t code_at = 0;  ///< and its first instruction
};

std::optional<Function> function_at(const ObjectFile& file, std::uint64_t symbol_at) {
  const auto symbol = file.read<Elf64_Sym>(symbol_at);
  if (!symbol || ELF64_ST_TYPE(symbol->st_info) != STT_FUNC || ELF64_ST_BIND(symbol->st_info) != STB_GLOBAL) {
    return std::nullopt;
  }
  const auto code = file.section(symbol->st_shndx);
  if (!code || code->sh_type != SHT_PROGBITS || (code->sh_flags & SHF_EXECINSTR) == 0) return std::nullopt;
  if (symbol->st_value > code->sh_size || symbol->st_size > code->sh_size - symbol->st_value) return std::nullopt;
  if (symbol->st_value % sizeof(bpf_insn) != 0 || symbol->st_size % sizeof(bpf_insn) != 0) return std::nullopt;
  return Function{symbol_at, *symbol, code->sh_offset + symbol->st_value};
}

std::optional<Function> find_function(const ObjectFile& file, std::string_view name) {
  for (std::size_t index = 0; index < file.sections(); ++index) {
    const auto table = file.section(index);
    if (!table || table->sh_type != SHT_SYMTAB || table->sh_entsize != sizeof(Elf64_Sym)) continue;
    for (std::uint64_t at = 0; at + sizeof(Elf64_Sym) <= table->sh_size; at += sizeof(Elf64_Sym)) {
      const auto symbol = file.read<Elf64_Sym>(table->sh_offset + at);
      if (!symbol || !file.is_named(table->sh_link, symbol->st_name, name)) continue;
      if (auto function = function_at(file, table->sh_offset + at)) return function;
    }
  }
  return std::nullopt;
}

/// A relocation would change the instructions that are put there.
bool is_relocated(const ObjectFile& file, const Elf64_Sym& function) {
  for (std::size_t index = 0; index < file.sections(); ++index) {
    const auto table = file.section(index);
    if (!table || (table->sh_type != SHT_REL && table->sh_type != SHT_RELA)) continue;
    if (table->sh_info != function.st_shndx) continue;
    const std::uint64_t entry = table->sh_type == SHT_REL ? sizeof(Elf64_Rel) : sizeof(Elf64_Rela);
    for (std::uint64_t at = 0; at + entry <= table->sh_size; at += entry) {
      const auto place = file.read<Elf64_Addr>(table->sh_offset + at);  // r_offset is the first of both
      if (place && *place >= function.st_value && *place - function.st_value < function.st_size) return true;
    }
  }
  return false;
}

}  // namespace

Result<void> place_filter(std::span<std::byte> elf_image, std::string_view function, std::span<const bpf_insn> body) {
  ObjectFile file(elf_image);
  if (!file.is_bpf_object()) return fail(Errc::failed, "this is no BPF object file");
  auto found = find_function(file, function);
  if (!found) return fail(Errc::failed, "the BPF object has no function " + std::string(function));
  if (is_relocated(file, found->symbol)) {
    return fail(Errc::failed, "the BPF object relocates the function " + std::string(function));
  }
  if (body.empty()) return fail(Errc::failed, "a filter without instructions");
  if (body.size_bytes() > found->symbol.st_size) {
    return fail(Errc::usage,
                "the filter is too long: it takes " + std::to_string(body.size()) +
                    " instructions, and there is room for " + std::to_string(found->symbol.st_size / sizeof(bpf_insn)),
                "make it simpler: a `net` instead of many hosts, a `portrange` instead of many ports");
  }
  file.write(found->code_at, body.data(), body.size_bytes());
  found->symbol.st_size = body.size_bytes();
  file.write(found->symbol_at, &found->symbol, sizeof found->symbol);
  return {};
}

}  // namespace weir::observe
