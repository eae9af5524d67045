// How many records a second one thread brings into a recording: what weir trace -o can keep up with.
//
// Beside it, in the same rounds, the same bytes through a buffered stream without compression or checksums, which is
// what a packet capture does (tcpdump -w). CPU time of the thread, so that other load on the machine counts little.
#include <fmt/format.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "observe/trace/record/reader.h"
#include "observe/trace/record/writer.h"

namespace {

namespace fs = std::filesystem;
using weir::observe::RecordingReader;
using weir::observe::RecordingWriter;

constexpr int kRounds = 9;
constexpr std::size_t kRecords = 1'000'000;
constexpr std::size_t kRecordBytes = 104;

double thread_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

/// Events as a traced packet makes them: a time that grows, one of 1,000 packets, one of 20 hooks, the packet's headers
/// at each fifth event and metadata otherwise; checksums, sequence numbers and hashes without any order.
std::vector<std::byte> make_records() {
  std::mt19937_64 random(1);
  std::vector<std::byte> all(kRecords * kRecordBytes);
  std::uint64_t time = 1'000'000'000;
  for (std::size_t i = 0; i < kRecords; ++i) {
    std::byte* at = all.data() + i * kRecordBytes;
    time += random() % 2000;
    const std::uint64_t packet = random() % 1000;
    const std::uint64_t address = 0xFFFF888000000000ULL + packet * 256;
    const std::uint64_t noise = random();
    const auto put = [at](std::size_t offset, auto value) { std::memcpy(at + offset, &value, sizeof value); };
    put(0, time);
    put(8, address);
    put(16, static_cast<std::uint32_t>(i / 20));
    put(20, static_cast<std::uint16_t>(random() % 20));
    put(22, static_cast<std::uint16_t>(packet % 8));
    put(24, static_cast<std::uint32_t>(noise));
    put(28, std::uint32_t{1514});
    if (i % 5 != 0) continue;
    put(50, std::uint64_t{0x0045000800000002});
    put(62, static_cast<std::uint32_t>(0x0100000A + packet));
    put(74, noise);
  }
  return all;
}

struct Figures {
  double seconds = 0;
  std::uint64_t bytes = 0;
};

Figures record(const std::string& path, const std::vector<std::byte>& records) {
  const double start = thread_seconds();
  auto writer = RecordingWriter::create(path, {.overwrite = true});
  for (std::size_t i = 0; writer && i < kRecords; ++i) {
    if (!writer->append(1, std::span(records).subspan(i * kRecordBytes, kRecordBytes))) return {};
  }
  if (!writer || !writer->close()) return {};
  return {thread_seconds() - start, writer->progress().file_bytes};
}

Figures stream(const std::string& path, const std::vector<std::byte>& records) {
  const double start = thread_seconds();
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (file == nullptr) return {};
  std::size_t written = 0;
  for (std::size_t i = 0; i < kRecords; ++i)
    written += std::fwrite(records.data() + i * kRecordBytes, 1, kRecordBytes, file);
  std::fclose(file);
  return {thread_seconds() - start, written};
}

Figures read_back(const std::string& path) {
  const double start = thread_seconds();
  auto reader = RecordingReader::open(path);
  std::uint64_t bytes = 0;
  while (reader) {
    const auto next = reader->next();
    if (!next || !*next) break;
    bytes += (*next)->bytes.size();
  }
  return {thread_seconds() - start, bytes};
}

void report(const char* what, std::vector<Figures> rounds) {
  std::ranges::sort(rounds, {}, &Figures::seconds);
  const auto rate = [](double seconds) { return static_cast<double>(kRecords) / seconds / 1e6; };
  const double median = rounds[rounds.size() / 2].seconds;
  fmt::print("{:<22} {:6.2f} M records/s  {:7.0f} MB/s  (best round {:.2f} M records/s)  {:6.1f} MB in the file\n",
             what, rate(median), rate(median) * static_cast<double>(kRecordBytes), rate(rounds.front().seconds),
             static_cast<double>(rounds.front().bytes) / 1e6);
}

}  // namespace

int main(int argc, char** argv) {
  const fs::path folder = argc > 1 ? fs::path(argv[1]) : fs::path("/dev/shm");
  const std::string path = folder / fmt::format("weir-bench-{}.weir", ::getpid());
  const std::vector<std::byte> records = make_records();
  std::vector<Figures> recording;
  std::vector<Figures> plain;
  std::vector<Figures> reading;
  for (int round = 0; round < kRounds; ++round) {
    recording.push_back(record(path, records));
    reading.push_back(read_back(path));
    plain.push_back(stream(path + ".plain", records));
  }
  fs::remove(path);
  fs::remove(path + ".plain");
  if (recording.front().bytes == 0 || plain.front().bytes == 0) {
    fmt::print(stderr, "could not write in {}\n", folder.string());
    return 1;
  }
  fmt::print("{} records of {} bytes, {} rounds, CPU time of one thread, median; files in {}\n", kRecords, kRecordBytes,
             kRounds, folder.string());
  report("recording", recording);
  report("plain buffered stream", plain);
  report("reading a recording", reading);
  return 0;
}
