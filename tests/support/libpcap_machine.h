// libpcap's own interpreter of classic BPF: the truth for translated filters.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "observe/trace/filter/expression.h"

namespace weir::test {

/// A program that libpcap's interpreter can run again and again.
class LibpcapProgram {
 public:
  explicit LibpcapProgram(std::span<const observe::ClassicInstruction> program);
  LibpcapProgram(const LibpcapProgram&) = delete;
  LibpcapProgram& operator=(const LibpcapProgram&) = delete;
  ~LibpcapProgram();
  [[nodiscard]] std::uint32_t run(std::span<const std::uint8_t> captured, std::uint32_t length) const;
  [[nodiscard]] bool valid() const;

 private:
  struct Instructions;
  std::unique_ptr<Instructions> instructions_;
};

/// What the program returns on a packet of `length` bytes of which `captured` are there.
std::uint32_t run_classic(std::span<const observe::ClassicInstruction> program, std::span<const std::uint8_t> captured,
                          std::uint32_t length);

/// Whether libpcap would take the program.
bool is_valid_classic(std::span<const observe::ClassicInstruction> program);

}  // namespace weir::test
