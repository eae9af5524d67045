#include "steer/journal.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <sstream>

#include "base/text.h"

namespace weir::steer {

namespace fs = std::filesystem;

namespace {

constexpr const char* kSchema = "weir.journal/1";
constexpr const char* kTemporary = ".new";  // ending of a file that was not finished

const char* to_string(JournalStep::State state) {
  switch (state) {
    case JournalStep::State::intended:
      return "intended";
    case JournalStep::State::done:
      return "done";
    case JournalStep::State::undone:
      break;
  }
  return "undone";
}

JournalStep::State state_of(const std::string& word) {
  for (const auto state : {JournalStep::State::intended, JournalStep::State::done, JournalStep::State::undone}) {
    if (word == to_string(state)) return state;
  }
  // Caught where the document is read, like every other misfit.
  throw Json::other_error::create(0, "unknown state \"" + word + "\"", nullptr);
}

JournalStep step_of(const Json& row) {
  return {.state = state_of(row.at("state")),
          .kind = row.at("kind"),
          .words = {row.at("what"), row.at("command"), row.at("undo_command")},
          .data = row.at("data")};
}

JournalEntry entry_of(const Json& document) {
  JournalEntry entry;
  entry.boot_id = document.at("boot_id");
  entry.created = document.at("created");
  entry.kind = document.at("kind");
  entry.title = document.at("title");
  const Json& subject = document.at("subject");
  entry.subject.netns = {subject.at("netns_id"), subject.at("netns")};
  entry.subject.ifindex = IfIndex{subject.at("ifindex")};
  entry.subject.name = subject.at("dev");
  for (const Json& row : document.at("steps")) entry.steps.push_back(step_of(row));
  return entry;
}

Result<std::string> read_file(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  std::ostringstream text;
  if (!stream || !(text << stream.rdbuf())) return fail(Errc::failed, "cannot be read, or is empty");
  return std::move(text).str();
}

Result<void> write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return fail_errno(errno, "cannot write");
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

Result<void> write_synced(const fs::path& file, std::string_view text) {
  const sys::Fd out(::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, S_IRUSR | S_IWUSR));
  if (!out.valid()) return fail_errno(errno, "cannot create");
  if (auto written = write_all(out.get(), text); !written) return written;
  if (::fsync(out.get()) != 0) return fail_errno(errno, "cannot flush to disk");
  return {};
}

}  // namespace

std::string JournalEntry::file_name() const {
  return fmt::format("{}-{}-{}.json", kind, subject.netns.id, subject.ifindex.value);
}

Result<std::string> boot_id() {
  auto text = read_file("/proc/sys/kernel/random/boot_id");
  if (!text) return pass(std::move(text), "/proc/sys/kernel/random/boot_id");
  return std::string(trim(*text));
}

Result<JournalEntry> parse_entry(const std::string& text) {
  try {
    const Json document = Json::parse(text);
    if (const std::string schema = document.at("schema"); schema != kSchema) {
      return fail(Errc::failed, fmt::format("is written as \"{}\"; this Weir reads \"{}\"", schema, kSchema));
    }
    return entry_of(document);
  } catch (const Json::exception& error) {
    return fail(Errc::failed, fmt::format("is not a complete journal entry: {}", error.what()));
  }
}

std::string to_text(const JournalEntry& entry) {
  Json steps = Json::array();
  for (const JournalStep& step : entry.steps) {
    steps.push_back({{"state", to_string(step.state)},
                     {"kind", step.kind},
                     {"what", step.words.what},
                     {"command", step.words.command},
                     {"undo_command", step.words.undo_command},
                     {"data", step.data}});
  }
  const Json document{{"schema", kSchema},
                      {"boot_id", entry.boot_id},
                      {"created", entry.created},
                      {"kind", entry.kind},
                      {"title", entry.title},
                      {"subject",
                       {{"netns_id", entry.subject.netns.id},
                        {"netns", entry.subject.netns.name},
                        {"ifindex", entry.subject.ifindex.value},
                        {"dev", entry.subject.name}}},
                      {"steps", steps}};
  return document.dump(2, ' ', false, decltype(document)::error_handler_t::replace) + "\n";
}

Result<JournalContents> read_journal(const fs::path& directory) {
  JournalContents contents;
  std::error_code error;
  std::vector<fs::path> files;
  for (const auto& item : fs::directory_iterator(directory, error)) {
    if (item.path().extension() == ".json") files.push_back(item.path());
  }
  if (error && error != std::errc::no_such_file_or_directory) {
    return fail_errno(error.value(), "cannot read the journal " + directory.string());
  }
  const auto boot = boot_id();
  if (!boot) return std::unexpected(boot.error());
  std::ranges::sort(files);
  for (const fs::path& file : files) {
    const auto text = read_file(file);
    auto entry = text ? parse_entry(*text) : std::unexpected(text.error());
    if (!entry) {
      contents.damaged.push_back({file, entry.error().message});
    } else if (entry->boot_id == *boot) {
      contents.entries.push_back(*std::move(entry));
    } else {
      contents.stale.push_back(*std::move(entry));
    }
  }
  return contents;
}

Result<Journal> Journal::open(fs::path directory) {
  std::error_code error;
  const bool made = fs::create_directories(directory, error);
  if (error) return fail_errno(error.value(), "cannot make the journal's directory " + directory.string());
  if (made) fs::permissions(directory, fs::perms::owner_all, error);
  sys::Fd lock(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!lock.valid()) return fail_errno(errno, "cannot open the journal " + directory.string());
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return fail_errno(errno, "cannot lock the journal " + directory.string());
    return fail(Errc::busy, "another Weir is changing this host right now", "wait until it is done and try again");
  }
  // Leftovers of a process that was killed while it wrote: the rename never happened, so they count for nothing.
  for (const auto& item : fs::directory_iterator(directory, error)) {
    if (item.path().extension() == kTemporary) fs::remove(item.path(), error);
  }
  return Journal(std::move(directory), std::move(lock));
}

Result<void> Journal::write(const JournalEntry& entry) {
  const fs::path file = directory_ / entry.file_name();
  const fs::path temporary = file.string() + kTemporary;
  const std::string what = "cannot keep the journal " + file.string();
  if (auto written = write_synced(temporary, to_text(entry)); !written) return pass(std::move(written), what);
  if (::rename(temporary.c_str(), file.c_str()) != 0) return fail_errno(errno, what);
  if (::fsync(lock_.get()) != 0) return fail_errno(errno, what);
  return {};
}

Result<void> Journal::remove(const JournalEntry& entry) {
  const fs::path file = directory_ / entry.file_name();
  if (::unlink(file.c_str()) != 0 && errno != ENOENT) return fail_errno(errno, "cannot remove " + file.string());
  if (::fsync(lock_.get()) != 0) return fail_errno(errno, "cannot flush " + directory_.string());
  return {};
}

}  // namespace weir::steer
