#!/usr/bin/env python3
"""Runs clang-tidy over the compile database, in parallel; a unit whose content was found clean is not looked at again.

A unit is what the compiler is given: one source, or, in a unity build, several of a module at once, which spares most of
the time. Its content is that of every file of the project that it includes (Ninja's dependency log knows them), its compile
command, the configuration and clang-tidy's version. The verdicts lie outside the checkout, so that a new clone
profits from them: $XDG_CACHE_HOME/weir/tidy, or ~/.cache/weir/tidy.
"""
import argparse
import concurrent.futures
import hashlib
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Tests are held by compiler warnings, formatting and style rules: GoogleTest's macros drown these checks in noise.
FOLDERS = ("src", "bench", "fuzz")
KEEP_SECONDS = 30 * 86400


def ninja_deps(build):
    """{object: [headers]} of everything built so far."""
    text = subprocess.run(["ninja", "-C", str(build), "-t", "deps"], capture_output=True, text=True, check=True).stdout
    deps, current = {}, None
    for line in text.splitlines():
        if line.startswith("    "):
            deps[current].append(line.strip())
        elif ": #deps" in line:
            current = line.split(":")[0]
            deps[current] = []
    return deps


def files_of(entry, deps):
    """Every file of the project that goes into the unit."""
    words = shlex.split(entry["command"])
    output = words[words.index("-o") + 1]
    included = [pathlib.Path(entry["directory"], name).resolve() for name in deps[output]]
    return sorted(p for p in {pathlib.Path(entry["file"]), *included} if p.is_relative_to(ROOT) and p.exists())


def digest_of(entry, files, common):
    digest = hashlib.sha256(common)
    digest.update(entry["command"].replace(str(ROOT), "").encode())
    for path in files:
        digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes().replace(str(ROOT).encode(), b"") + b"\0")
    return digest.hexdigest()


def check(tool, build, entry):
    run = subprocess.run([tool, "-p", str(build), "--quiet", "--warnings-as-errors=*", entry["file"]],
                         capture_output=True, text=True)
    noise = ("warnings generated", "Suppressed", "Use -header-filter")
    errors = [line for line in run.stderr.splitlines(True) if not any(word in line for word in noise)]
    return run.returncode, run.stdout + "".join(errors)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True, type=pathlib.Path)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--tool", default="clang-tidy-19")
    parser.add_argument("files", nargs="*", help="only these (default: all)")
    args = parser.parse_args()
    build = args.build.resolve()
    if not shutil.which(args.tool):
        print(f"{args.tool} is not installed", file=sys.stderr)
        return 1

    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "weir" / "tidy"
    cache.mkdir(parents=True, exist_ok=True)
    for old in cache.iterdir():
        if time.time() - old.stat().st_mtime > KEEP_SECONDS:
            old.unlink(missing_ok=True)

    version = subprocess.run([args.tool, "--version"], capture_output=True, check=True).stdout
    common = version + (ROOT / ".clang-tidy").read_bytes()
    deps = ninja_deps(build)
    wanted = {pathlib.Path(f).resolve() for f in args.files}
    todo, clean = [], 0
    for entry in json.loads((build / "compile_commands.json").read_text()):
        files = files_of(entry, deps)
        sources = [p for p in files if p.suffix == ".cpp" and any(p.is_relative_to(ROOT / f) for f in FOLDERS)]
        if not sources or (wanted and not wanted.intersection(sources)):
            continue
        verdict = cache / digest_of(entry, files, common)
        if verdict.exists():
            verdict.touch()
            clean += 1
        else:
            todo.append((entry, verdict))

    failed = 0
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        jobs = {pool.submit(check, args.tool, build, entry): (entry, verdict) for entry, verdict in todo}
        for job in concurrent.futures.as_completed(jobs):
            entry, verdict = jobs[job]
            code, output = job.result()
            if code == 0:
                verdict.touch()
            else:
                failed += 1
                print(output.replace(str(ROOT) + "/", ""), end="", flush=True)
    print(f"clang-tidy: {len(todo)} units looked at, {clean} unchanged since they were clean, {failed} with findings")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
