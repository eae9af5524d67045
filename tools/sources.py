#!/usr/bin/env python3
"""Lists the C++ and BPF C files of the project, one a line (--null: NUL between them)."""
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDERS = ("include", "src", "tests", "bench", "examples", "fuzz")
SUFFIXES = {".h", ".cpp", ".c"}


def sources(folders=FOLDERS, root=ROOT):
    for folder in folders:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in SUFFIXES and path.is_file():
                yield path


if __name__ == "__main__":
    end = "\0" if "--null" in sys.argv else "\n"
    for source in sources():
        sys.stdout.write(str(source.relative_to(ROOT)) + end)
