# ./dev format: clang-format 14 over C++ and BPF C.
ensure lint
say "formatting"
python3 tools/sources.py --null | xargs -0 -r -n 64 -P "$JOBS" clang-format-14 -i
