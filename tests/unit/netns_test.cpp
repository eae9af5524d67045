// Ids of namespaces as text.
#include "netns/netns.h"

#include <gtest/gtest.h>

#include <unordered_set>

namespace weir::netns {
namespace {

DurableId sample() {
  DurableId id;
  for (std::size_t i = 0; i < id.boot.size(); ++i) id.boot[i] = static_cast<std::byte>(i * 17);
  id.id = 4711;
  id.inum = 4026532100;
  return id;
}

TEST(DurableIdTest, IsPrintedAndReadBack) {
  EXPECT_EQ(sample().text(), "id:4711/4026532100@00112233-4455-6677-8899-aabbccddeeff");
  DurableId weak = sample();
  weak.weak = true;
  EXPECT_EQ(weak.text(), "id:weak-4711/4026532100@00112233-4455-6677-8899-aabbccddeeff");
  for (const DurableId& id : {sample(), weak}) {
    const auto back = DurableId::parse(id.text());
    ASSERT_TRUE(back);
    EXPECT_EQ(*back, id);
    EXPECT_EQ(back->inum, id.inum);
  }
}

TEST(DurableIdTest, OtherTextIsRefused) {
  for (const char* text :
       {"", "4711", "id:", "id:4711", "id:4711/1", "id:4711@00112233-4455-6677-8899-aabbccddeeff",
        "id:/1@00112233-4455-6677-8899-aabbccddeeff", "id:x/1@00112233-4455-6677-8899-aabbccddeeff",
        "id:1/4294967296@00112233-4455-6677-8899-aabbccddeeff", "id:1/1@00112233445566778899aabbccddeeff",
        "id:1/1@00112233-4455-6677-8899-aabbccddeef", "id:1/1@00112233-4455-6677-8899-aabbccddeegg",
        "id:1@2/00112233-4455-6677-8899-aabbccddeeff", "id:1/1@00112233-4455-6677-8899-AABBCCDDEEFF"}) {
    const auto parsed = DurableId::parse(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().code, Errc::usage);
  }
}

TEST(DurableIdTest, TheInodeIsNoPartOfTheIdentity) {
  DurableId other = sample();
  other.inum = 7;
  EXPECT_EQ(other, sample());
  std::unordered_set<DurableId> set{sample(), other};
  EXPECT_EQ(set.size(), 1U);
  other.id = 4712;
  EXPECT_GT(other, sample());
  set.insert(other);
  other = sample();
  other.boot[0] = std::byte{1};
  EXPECT_NE(other, sample());
  set.insert(other);
  other = sample();
  other.weak = true;
  EXPECT_NE(other, sample());
  set.insert(other);
  EXPECT_EQ(set.size(), 4U);
}

}  // namespace
}  // namespace weir::netns
