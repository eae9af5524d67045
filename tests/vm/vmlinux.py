#!/usr/bin/env python3
"""vmlinux.py BZIMAGE OUT: the kernel's ELF image out of a bzImage.

qemu enters an ELF image directly (PVH); under emulation the kernel's own decompressor takes longer than the whole boot.
Fields: Documentation/arch/x86/boot.rst (setup_sects, payload_offset, payload_length; boot protocol 2.08).
"""
import lzma
import struct
import subprocess
import sys


def main():
    image = open(sys.argv[1], "rb").read()
    setup_sectors = image[0x1F1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (setup_sectors + 1) * 512 + offset
    payload = image[start : start + length - 4]  # its last four bytes are the size of what comes out
    if payload.startswith(b"\xfd7zXZ\0"):
        kernel = lzma.decompress(payload)
    elif payload.startswith(b"\x28\xb5\x2f\xfd"):
        kernel = subprocess.run(["zstd", "-dcq"], input=payload, stdout=subprocess.PIPE, check=True).stdout
    else:
        sys.exit(f"{sys.argv[1]}: neither xz nor zstd: {payload[:6].hex()}")
    if not kernel.startswith(b"\x7fELF"):
        sys.exit(f"{sys.argv[1]}: holds no ELF image")
    open(sys.argv[2], "wb").write(kernel)


main()
