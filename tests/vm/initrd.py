#!/usr/bin/env python3
"""initrd.py FOLDER VERSION INIT OUT: an initrd with a static init and the modules that reach the host's root.

The modules are decompressed and listed in /modules.list in the order in which they load. Format: newc
(Documentation/driver-api/early-userspace/buffer-format.rst).
"""
import lzma
import os
import subprocess
import sys

MODULES = ["virtio_pci", "9pnet_virtio", "9p", "overlay"]


def module_files(folder, version):
    files = []
    for module in MODULES:
        listed = subprocess.run(
            ["modprobe", "-d", folder, "-S", version, "--ignore-install", "--show-depends", module],
            stdout=subprocess.PIPE, check=True, text=True).stdout
        for line in listed.splitlines():
            words = line.split()
            if words[0] == "insmod" and words[1] not in files:
                files.append(words[1])
    return files


def read_module(path):
    data = open(path, "rb").read()
    return lzma.decompress(data) if path.endswith(".xz") else data


def entry(name, mode, data=b"", device=(0, 0)):
    name = name.encode() + b"\0"
    fields = [entry.inode, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name), 0]
    entry.inode += 1
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name
    return head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)


entry.inode = 1


def main():
    folder, version, init, out = sys.argv[1:]
    parts = [entry("dev", 0o040755), entry("dev/console", 0o020600, device=(5, 1)),
             entry("init", 0o100755, open(init, "rb").read())]
    names = []
    for path in module_files(folder, version):
        name = os.path.basename(path).removesuffix(".xz")
        names.append("/" + name)
        parts.append(entry(name, 0o100644, read_module(path)))
    parts.append(entry("modules.list", 0o100644, "\n".join(names).encode() + b"\n"))
    parts.append(entry("TRAILER!!!", 0))
    open(out, "wb").write(b"".join(parts))


main()
