#!/usr/bin/env python3
"""Holds the layer law on includes.

A file of module M may include headers of M and of the modules that M declares in its weir_module(... DEPS ...), which
CMake writes to modules.txt; nothing it reaches only through them, nothing above it. A declared dependency must itself
point downwards. Public headers (include/weir) include only each other and the standard library, and each compiles alone.
"""
import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
FUSED = re.compile(r"observe/(\w+/)+bpf/[\w.]+\.h$")
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.M)

# The first folders decide the layer, as many as are named here; inside L1 sys stands below netns and bpf, and what
# measures and tries netns above it; inside L3 the data plane stands below the features that read it, and the parts of
# the trace below the trace, and conntrack below the flows.
LAYERS = {"base": 0, "sys": 1, "netns": 1.5, "netns/bench": 1.7, "netns/torture": 1.7, "bpf": 1.5, "model": 2,
          "observe/dataplane": 2.5,
          "observe/trace/filter": 2.8, "observe/trace/where": 2.8, "observe/trace/record": 2.8, "observe/trace/nft": 2.8,
          "observe/flows/conntrack": 2.8,
          "observe": 3, "store": 3, "reason": 4, "steer": 4, "export": 5, "serve": 5, "lab": 5, "cli": 6}


def layer(folder):
    parts = folder.split("/")
    named = ("/".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next((LAYERS[name] for name in named if name in LAYERS), None)


def read_modules(path):
    """modules.txt has a line a module: NAME FOLDER DEPS (semicolons between)."""
    modules = {}
    for line in pathlib.Path(path).read_text().splitlines():
        name, folder, *deps = line.split()
        modules[name] = (folder, [d for word in deps for d in word.split(";") if d])
    return modules


def owner(folder_of, path):
    """The module whose folder holds this path, the deepest one winning; None when there is none."""
    best = None
    for name, folder in folder_of.items():
        if path == folder or path.startswith(folder + "/"):
            if best is None or len(folder) > len(folder_of[best]):
                best = name
    return best


def check_graph(modules):
    """What is wrong with the declared dependencies themselves."""
    problems = []
    for name, (folder, deps) in modules.items():
        if layer(folder) is None:
            problems.append(f"src/{folder}: no layer is known for this folder (tools/check_layers.py, ARCHITECTURE.md)")
            continue
        for dep in deps:
            if dep not in modules:
                problems.append(f"src/{folder}: depends on '{dep}', which is no module")
            elif layer(modules[dep][0]) is not None and layer(modules[dep][0]) >= layer(folder):
                problems.append(f"src/{folder}: depends on src/{modules[dep][0]}, which is not below it")
    return problems


def check_includes(src, modules):
    """What is wrong with the quoted includes of every file under src."""
    problems = []
    folder_of = {name: folder for name, (folder, _) in modules.items()}
    shared_bpf = src / "bpf" / "include"
    for path in sorted(p for p in src.rglob("*") if p.suffix in {".h", ".cpp", ".c"}):
        rel = path.relative_to(src).as_posix()
        me = owner(folder_of, rel)
        top = rel.split("/")[0]
        if me is None and top != "cli":
            problems.append(f"src/{rel}: belongs to no module (weir_module in its folder's CMakeLists.txt)")
            continue
        for match in INCLUDE.finditer(path.read_text(errors="replace")):
            target = match.group(1)
            where = f"src/{rel}:{path.read_text(errors='replace').count(chr(10), 0, match.start(1)) + 1}"
            if target.startswith("weir/") or target.endswith((".skel.h", ".gen.h")):
                continue  # the public library stands above nothing; the others are made by the module's own CMake lines
            if not (src / target).exists():
                if (shared_bpf / target).exists():
                    target = f"bpf/include/{target}"
                else:
                    problems.append(f'{where}: "{target}" is not a path under src/')
                    continue
            if target.startswith("cli/"):
                if top != "cli":
                    problems.append(f'{where}: "{target}" is above this file')
                continue
            other = owner(folder_of, target)
            if other is None:
                problems.append(f'{where}: "{target}" belongs to no module')
            elif other == me or (me is None and top == "cli"):
                continue
            elif path.name.endswith(".bpf.c") and target.startswith("bpf/include/"):
                continue  # shared BPF C needs no link
            elif rel.startswith("observe/dataplane/") and FUSED.match(target):
                continue
            elif other not in modules[me][1]:
                problems.append(f'{where}: "{target}" is of module {other}, which {me} does not declare in DEPS')
    return problems


def check_public(include, compiler="g++"):
    """Public headers include no src/ header and compile alone."""
    problems = []
    for header in sorted(include.rglob("*.h")) if include.exists() else []:
        rel = header.relative_to(include).as_posix()
        for match in INCLUDE.finditer(header.read_text()):
            if not match.group(1).startswith("weir/"):
                problems.append(f'include/{rel}: "{match.group(1)}" is not public')
        run = subprocess.run([compiler, "-std=c++23", "-fsyntax-only", "-Wall", "-Wextra", "-I", str(include), "-x", "c++",
                              "-include", rel, os.devnull], capture_output=True, text=True)
        if run.returncode != 0:
            problems.append(f"include/{rel}: does not compile alone:\n{run.stderr}")
    return problems


def self_test():
    """Made-up trees with one fault each: every fault must be found, and the sound tree must pass."""
    modules = {"base": ("base", []), "sys": ("sys", ["base"]), "netns": ("netns", ["base", "sys"]),
               "model": ("model", ["base"]),
               "dp": ("observe/dataplane", ["base"]), "a": ("observe/a", ["base", "model"]), "b": ("observe/b", ["base", "model", "dp"])}
    sound = {"base/x.h": "", "sys/fd.h": '#include "base/x.h"\n', "netns/n.h": '#include "sys/fd.h"\n', "model/m.h": "",
             "observe/a/a.h": '#include "model/m.h"\n#include <vector>\n', "observe/b/b.h": "",
             "observe/b/bpf/abi.h": "", "observe/dataplane/d.h": '#include "observe/b/bpf/abi.h"\n',
             "cli/main.cpp": '#include "observe/a/a.h"\n#include "cli/c.h"\n', "cli/c.h": ""}
    cases = [("upward", "base/y.cpp", '#include "model/m.h"\n', "does not declare"),
             ("sibling", "observe/a/a.cpp", '#include "observe/b/b.h"\n', "does not declare"),
             ("undeclared", "observe/b/b.cpp", '#  include "sys/fd.h"\n', "does not declare"),
             ("into cli", "base/z.cpp", '#include "cli/c.h"\n', "above"),
             ("sys on netns", "sys/s.cpp", '#include "netns/n.h"\n', "does not declare"),
             ("relative", "observe/a/r.cpp", '#include "a.h"\n', "not a path"),
             ("not fused", "observe/a/f.cpp", '#include "observe/b/bpf/abi.h"\n', "does not declare"),
             ("stray", "stray/s.cpp", "", "no module")]
    failures = []

    def problems_of(files):
        with tempfile.TemporaryDirectory() as folder:
            for name, text in files.items():
                file = pathlib.Path(folder, name)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
            return check_includes(pathlib.Path(folder), modules)

    if problems_of(sound) or check_graph(modules):
        failures.append(f"a sound tree is refused: {problems_of(sound)} {check_graph(modules)}")
    for name, file, text, expected in cases:
        found = problems_of({**sound, file: text})
        if len(found) != 1 or expected not in found[0]:
            failures.append(f"{name}: expected one problem with '{expected}', got {found}")
    for name, wrong in (("upward DEPS", {"sys": ("sys", ["model"])}), ("unknown folder", {"q": ("quux", [])}),
                        ("sibling DEPS", {"a": ("observe/a", ["b"])}), ("unknown DEPS", {"b": ("observe/b", ["nope"])})):
        if len(check_graph({**modules, **wrong})) != 1:
            failures.append(f"{name}: not found")
    with tempfile.TemporaryDirectory() as folder:
        header = pathlib.Path(folder, "weir", "h.h")
        header.parent.mkdir()
        header.write_text("#pragma once\ninline std::string name();\n")
        if len(check_public(pathlib.Path(folder))) != 1:
            failures.append("a public header that does not compile alone is not found")
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--modules", help="modules.txt in a build folder")
    parser.add_argument("--self-test", action="store_true")
    args = parser.parse_args()
    if args.self_test:
        problems = self_test()
    elif args.modules:
        modules = read_modules(args.modules)
        problems = check_graph(modules) + check_includes(ROOT / "src", modules) + check_public(ROOT / "include")
    else:
        parser.error("--modules FILE or --self-test")
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
