#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/text.h"
#include "observe/trace/record/reader.h"

namespace weir::observe {

namespace {

/// Whether `name` is `base` or `base`.N.
bool belongs_to(const std::string& name, const std::string& base) {
  if (name == base) return true;
  return name.size() > base.size() + 1 && name.starts_with(base) && name[base.size()] == '.' &&
         parse_u64(std::string_view(name).substr(base.size() + 1)).has_value();
}

}  // namespace

Result<std::vector<std::string>> recording_files(const std::string& path) {
  namespace fs = std::filesystem;
  auto first = RecordingReader::open(path);
  if (!first) return std::unexpected(first.error());
  std::vector<std::pair<std::uint64_t, std::string>> found;
  const fs::path folder = fs::path(path).has_parent_path() ? fs::path(path).parent_path() : fs::path(".");
  const std::string base = fs::path(path).filename();
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    const std::string name = at->path().filename();
    if (name == base || !belongs_to(name, base)) continue;
    // What cannot be read, or is gone meanwhile, is none of this recording's files.
    auto reader = RecordingReader::open(at->path());
    if (reader && first->recording() != 0 && reader->recording() == first->recording()) {
      found.emplace_back(reader->file_number(), at->path());
    }
  }
  found.emplace_back(first->file_number(), path);
  std::ranges::sort(found);
  std::vector<std::string> files;
  for (auto& [number, file] : found) files.push_back(std::move(file));
  return files;
}

}  // namespace weir::observe
