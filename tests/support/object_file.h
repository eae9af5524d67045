// A small BPF object file made by hand: one global function in .text, after another one.
#pragma once

#include <elf.h>
#include <linux/bpf.h>

#include <cstdint>
#include <cstring>
#include <limits>
#include <string_view>
#include <vector>

namespace weir::test {

inline constexpr std::size_t kFunctionOffset = 16;  // in its section
inline constexpr std::size_t kFunctionInstructions = 5;

struct ObjectFileBytes {
  std::vector<std::byte> bytes;
  std::size_t code_at = 0;
  std::size_t symbol_at = 0;
};

/// With a relocation at `relocated` of the section with the code, or elsewhere. The section headers come first, so that
/// every byte that is missing at the end belongs to a section.
inline ObjectFileBytes object_file(std::uint64_t relocated = 1 << 20) {
  constexpr std::string_view kNames("\0other\0filter\0", 14);
  ObjectFileBytes out;
  const auto append = [&out](const void* from, std::size_t size) {
    const auto at = out.bytes.size();
    out.bytes.resize(at + size);
    std::memcpy(out.bytes.data() + at, from, size);
    return at;
  };
  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_type = ET_REL;
  header.e_machine = EM_BPF;
  header.e_shoff = sizeof header;
  header.e_shentsize = sizeof(Elf64_Shdr);
  header.e_shnum = 5;
  append(&header, sizeof header);
  Elf64_Shdr sections[5]{};
  append(sections, sizeof sections);

  const std::vector<std::byte> code(kFunctionOffset + kFunctionInstructions * sizeof(bpf_insn));
  out.code_at = append(code.data(), code.size());
  sections[1].sh_type = SHT_PROGBITS;
  sections[1].sh_flags = SHF_EXECINSTR;
  sections[1].sh_offset = out.code_at;
  sections[1].sh_size = code.size();

  const Elf64_Rel relocation{.r_offset = relocated, .r_info = 0};
  sections[2].sh_type = SHT_REL;
  sections[2].sh_info = 1;
  sections[2].sh_offset = append(&relocation, sizeof relocation);
  sections[2].sh_size = sizeof relocation;

  Elf64_Sym symbols[2]{};
  for (auto& symbol : symbols) {
    symbol.st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC);
    symbol.st_shndx = 1;
  }
  symbols[0].st_name = 1;
  symbols[0].st_size = kFunctionOffset;
  symbols[1].st_name = 7;
  symbols[1].st_value = kFunctionOffset;
  symbols[1].st_size = kFunctionInstructions * sizeof(bpf_insn);
  sections[3].sh_type = SHT_SYMTAB;
  sections[3].sh_link = 4;
  sections[3].sh_entsize = sizeof(Elf64_Sym);
  sections[3].sh_offset = append(symbols, sizeof symbols);
  sections[3].sh_size = sizeof symbols;
  out.symbol_at = sections[3].sh_offset + sizeof(Elf64_Sym);

  sections[4].sh_type = SHT_STRTAB;
  sections[4].sh_offset = append(kNames.data(), kNames.size());
  sections[4].sh_size = kNames.size();
  std::memcpy(out.bytes.data() + sizeof header, sections, sizeof sections);
  return out;
}

}  // namespace weir::test
