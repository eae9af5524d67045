#!/usr/bin/env python3
"""The style rules that a compiler does not know (CONTRIBUTING.md): file length, no sleeping, no marks left in the text."""
import re
import sys

from sources import ROOT, sources

MAX_LINES = 450
SLEEP = re.compile(r"\b(sleep_for|sleep_until|usleep|nanosleep|time\.sleep|(?<![\w.])sleep)\s*\(")
# The two reasons that are none: the step of a poll that has a deadline, and the span that is measured.
ALLOWED = re.compile(r"// (poll|span): \S")
MARK = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
BPF_FILE = re.compile(r"src/(.*\.bpf\.c|.*/bpf/[^/]+\.[ch]|bpf/include/[^/]+\.[ch])$")
LICENCE = "SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause"


def problems_in(name, text):
    """Yields (line, problem); line 0 speaks of the whole file."""
    lines = text.splitlines()
    if len(lines) > MAX_LINES:
        yield 0, f"{len(lines)} lines; split it (at most {MAX_LINES})"
    if BPF_FILE.match(name) and LICENCE not in (lines or [""])[0]:
        yield 1, f"the first line of BPF C must carry '{LICENCE}'"
    if not text.endswith("\n") or text.endswith("\n\n"):
        yield len(lines), "a file ends with one newline"
    for number, line in enumerate(lines, 1):
        if SLEEP.search(line) and not ALLOWED.search(line):
            yield number, "sleeps; wait for the event, or poll with a deadline (`// poll: why`, `// span: what is measured`)"
        if MARK.search(line):
            yield number, "a mark for later; do it now or write it down in docs/limitations.md"
        if "\t" in line:
            yield number, "a tab; use spaces"
        if line != line.rstrip():
            yield number, "spaces at the end of the line"


def main():
    files = list(sources()) + sorted((ROOT / "tools").glob("*.py")) + sorted((ROOT / "scripts").glob("*"))
    count = 0
    for path in files:
        name = path.relative_to(ROOT).as_posix()
        if name == "tools/check_style.py":
            continue
        for line, problem in problems_in(name, path.read_text(errors="replace")):
            print(f"{name}:{line}: {problem}", file=sys.stderr)
            count += 1
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
