#!/usr/bin/env python3
"""Makes a deliberately broken copy of some sources: the torture test must notice each of them.

usage: mutate.py MUTANT.json SOURCE-ROOT OUTPUT-FOLDER

MUTANT.json: {"why": text, "edits": [{"file", "find", "replace"}], "also": [files to compile against the edited headers]}.
Each `find` must stand in its file exactly as often as `times` says (once, when it does not): a mutant that no longer fits
the code fails the build instead of testing nothing.
"""
import json
import pathlib
import sys


def main():
    mutant, root, out = json.loads(pathlib.Path(sys.argv[1]).read_text()), pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    texts = {}
    for edit in mutant["edits"]:
        name = edit["file"]
        text = texts.get(name) or (root / name).read_text()
        times = edit.get("times", 1)
        if text.count(edit["find"]) != times:
            print(f"{sys.argv[1]}: {edit['find']!r} stands {text.count(edit['find'])} times in {name}, not {times}",
                  file=sys.stderr)
            return 1
        texts[name] = text.replace(edit["find"], edit["replace"])
    for name in mutant.get("also", []):
        texts.setdefault(name, (root / name).read_text())
    for name, text in texts.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
