// Filters: libpcap's own interpreter and the translated program give the same verdict on every packet.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "observe/trace/filter/expression.h"
#include "observe/trace/filter/translate.h"
#include "support/ebpf_machine.h"
#include "support/libpcap_machine.h"
#include "support/random_packets.h"

namespace weir::observe {
namespace {

using ::testing::HasSubstr;

/// Both ways to read packets; the machine of the tests does not mind the number.
constexpr PacketAccess kAccess[] = {{.rdonly_cast = 0}, {.rdonly_cast = 1}};

/// A program in every translation.
std::vector<std::vector<bpf_insn>> translations(const ClassicProgram& classic) {
  std::vector<std::vector<bpf_insn>> out;
  for (const PacketAccess access : kAccess) {
    auto translated = translate(classic, access);
    EXPECT_TRUE(translated) << translated.error().message;
    if (translated) out.push_back(std::move(*translated));
  }
  return out;
}

/// Compares on one packet; 1 when it matched.
int compare(const ClassicProgram& classic, const std::vector<std::vector<bpf_insn>>& translated, test::Packet packet,
            std::uint32_t more) {
  packet.shrink_to_fit();  // so that a sanitizer sees the first byte that is read too much
  const auto length = static_cast<std::uint32_t>(packet.size()) + more;
  const std::uint32_t expected = test::run_classic(classic, packet, length);
  for (const auto& program : translated) {
    EXPECT_EQ(test::EbpfMachine().run(program, packet.data(), packet.size(), length), expected);
  }
  return expected != 0 ? 1 : 0;
}

TEST(TraceFilter, AThousandExpressionsAgreeWithLibpcapOnRandomPackets) {
  constexpr int kExpressions = 1000;
  constexpr int kPackets = 50;
  test::PacketDice dice(20);
  int compiled = 0;
  int matched = 0;
  for (int i = 0; i < kExpressions; ++i) {
    const std::string expression = dice.expression();
    for (const PacketStart start : {PacketStart::link, PacketStart::network}) {
      const auto classic = compile_expression(expression, start);
      if (!classic) continue;  // a contradiction ("ip and arp"), or on a header that is not there
      const auto translated = translations(*classic);
      ++compiled;
      for (int j = 0; j < kPackets && !HasFailure(); ++j) {
        const auto more = static_cast<std::uint32_t>(dice.one_in(4) ? dice.below(2000) : 0);
        matched += compare(*classic, translated, dice.packet(start == PacketStart::link), more);
      }
      ASSERT_FALSE(HasFailure()) << expression;
    }
  }
  // Otherwise little was compared.
  EXPECT_GT(compiled, kExpressions);
  EXPECT_GT(matched, compiled * kPackets / 20);
  EXPECT_LT(matched, compiled * kPackets * 19 / 20);
}

/// Every instruction of the classic machine, more often than expressions bring it, with odd operands.
ClassicProgram random_program(test::PacketDice& dice) {
  constexpr std::uint16_t kCodes[] = {0x00, 0x20, 0x28, 0x30, 0x40, 0x48, 0x50, 0x80, 0x01, 0x81, 0xb1, 0x04, 0x0c,
                                      0x14, 0x1c, 0x24, 0x2c, 0x34, 0x3c, 0x94, 0x9c, 0x44, 0x4c, 0x54, 0x5c, 0xa4,
                                      0xac, 0x64, 0x6c, 0x74, 0x7c, 0x84, 0x05, 0x15, 0x1d, 0x25, 0x2d, 0x35, 0x3d,
                                      0x45, 0x4d, 0x07, 0x87, 0x06, 0x16, 0x60, 0x61, 0x02, 0x03};
  constexpr std::uint32_t kOdd[] = {0, 1, 14, 31, 32, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff};
  ClassicProgram program;
  // libpcap's own machine leaves cells undefined that nothing was written to.
  for (std::uint32_t cell = 0; cell < 16; ++cell) program.push_back({0x02, 0, 0, cell});
  program.resize(18 + dice.below(30));
  for (std::size_t at = 16; at < program.size(); ++at) {
    const std::size_t left = program.size() - at - 1;
    ClassicInstruction& insn = program[at];
    insn.code = left == 0 ? 0x16 : kCodes[dice.below(std::size(kCodes))];
    insn.k = dice.one_in(3) ? kOdd[dice.below(std::size(kOdd))] : static_cast<std::uint32_t>(dice.below(64));
    const int operation = insn.code & 0xf7;
    const bool shifts = operation == 0x64 || operation == 0x74;
    const bool remembers = (insn.code & 0xfe) == 0x60 || (insn.code & 0xfe) == 0x02;
    if (shifts) insn.k %= 32;     // libpcap's own machine does not define more
    if (remembers) insn.k %= 16;  // cells
    if ((insn.code & 7) != 5 || left == 0) continue;
    insn.jump_true = static_cast<std::uint8_t>(dice.below(left));
    insn.jump_false = static_cast<std::uint8_t>(dice.below(left));
    if (insn.code == 0x05) insn.k = static_cast<std::uint32_t>(dice.below(left));
  }
  return program;
}

TEST(TraceFilter, RandomProgramsAgreeWithLibpcap) {
  test::PacketDice dice(21);
  int tried = 0;
  for (int i = 0; i < 10'000; ++i) {
    const ClassicProgram program = random_program(dice);
    if (!test::is_valid_classic(program)) continue;
    ++tried;
    const auto translated = translations(program);
    for (int j = 0; j < 5; ++j) compare(program, translated, dice.packet(true), static_cast<std::uint32_t>(j));
    ASSERT_FALSE(HasFailure()) << "program " << i;
  }
  EXPECT_GT(tried, 2'500);
}

TEST(TraceFilter, WhatDoesNotCompileIsSaidInLibpcapsWords) {
  for (const auto& [expression, said] :
       {std::pair("tcp prot 80", "syntax error"), std::pair("host 1.2.3.4.5", "1.2.3.4.5"),
        std::pair("port 70000", "70000"), std::pair("(tcp", "syntax error")}) {
    const auto compiled = compile_expression(expression, PacketStart::link);
    ASSERT_FALSE(compiled) << expression;
    EXPECT_EQ(compiled.error().code, Errc::usage);
    EXPECT_THAT(compiled.error().message, HasSubstr(expression));
    EXPECT_THAT(compiled.error().message, HasSubstr(said));
  }
}

TEST(TraceFilter, TheHintShowsHowFarTheFilterMadeSense) {
  EXPECT_EQ(compile_expression("tcp port 80 then udp", PacketStart::link).error().hint,
            "it makes sense up to here: tcp port 80");
  EXPECT_THAT(compile_expression("(tcp", PacketStart::link).error().hint, HasSubstr("pcap-filter"));
}

TEST(TraceFilter, WhatHasNoMeaningOnOneKindOfPacketNeverMatchesThere) {
  for (const char* expression : {"ether broadcast", "ether host 02:00:00:00:00:01", "arp", "vlan 5"}) {
    EXPECT_FALSE(never_matches(*compile_expression(expression, PacketStart::link))) << expression;
    EXPECT_TRUE(never_matches(*compile_expression(expression, PacketStart::network))) << expression;
  }
  EXPECT_FALSE(never_matches(*compile_expression("tcp", PacketStart::network)));
  EXPECT_FALSE(never_matches(*compile_expression("", PacketStart::network)));
  EXPECT_FALSE(compile_expression("ip and ip6", PacketStart::link));
  EXPECT_FALSE(compile_expression("ip and ip6", PacketStart::network));
}

TEST(TraceFilter, LoopsOverHeadersAreRefusedInWords) {
  for (const PacketStart start : {PacketStart::link, PacketStart::network}) {
    const auto compiled = compile_expression("ip6 protochain 17", start);
    ASSERT_FALSE(compiled);
    EXPECT_EQ(compiled.error().code, Errc::usage);
    EXPECT_THAT(compiled.error().message, HasSubstr("protochain"));
    EXPECT_THAT(compiled.error().hint, HasSubstr("ip6 proto"));
  }
}

TEST(TraceFilter, ProgramsThatNoMachineTakesAreRefused) {
  const std::vector<ClassicProgram> wrong{{},
                                          {{0x00, 0, 0, 1}},                    // no return
                                          {{0x05, 0, 0, 1}, {0x06, 0, 0, 0}},   // a jump behind the end
                                          {{0x15, 1, 0, 1}, {0x06, 0, 0, 0}},   // the same by a condition
                                          {{0x60, 0, 0, 16}, {0x06, 0, 0, 0}},  // no such cell
                                          {{0x02, 0, 0, 16}, {0x06, 0, 0, 0}},
                                          {{0xe0, 0, 0, 0}, {0x06, 0, 0, 0}},   // no such load
                                          {{0x38, 0, 0, 0}, {0x06, 0, 0, 0}},   // no such size
                                          {{0xa1, 0, 0, 0}, {0x06, 0, 0, 0}},   // nor one of X
                                          {{0x0e, 0, 0, 0}},                    // no such return
                                          {{0xf4, 0, 0, 0}, {0x06, 0, 0, 0}},   // no such operation
                                          {{0x55, 0, 0, 0}, {0x06, 0, 0, 0}}};  // no such condition
  for (const ClassicProgram& program : wrong) {
    const auto translated = translate(program);
    ASSERT_FALSE(translated);
    EXPECT_EQ(translated.error().code, Errc::usage) << translated.error().message;
  }
  ClassicProgram endless(40'000, {0x04, 0, 0, 1});
  endless.front() = {0x20, 0, 0, 0};
  endless.back() = {0x06, 0, 0, 1};
  EXPECT_THAT(translate(endless).error().message, HasSubstr("too long"));
}

}  // namespace
}  // namespace weir::observe
