#!/usr/bin/env python3
"""Finds libtorch 2.4.0, or obtains it, and tells cargo where it is.

Looks at LIBTORCH, .cache/libtorch, the system and Python's torch, in this order;
otherwise fills .cache/libtorch: with the archive that tch itself would download,
or, where that site can't be reached, out of PyPI's wheels. Whatever is fetched is
held against a pinned SHA-256. Writes .cargo/config.toml, so that cargo needs no
environment variables afterwards. The standard library is all it needs.
"""

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from pathlib import Path, PurePosixPath

VERSION = "2.4.0"
ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "libtorch"
CONFIG = ROOT / ".cargo" / "config.toml"
MARK = "# Written by scripts/libtorch.py; `make libtorch` writes it again."
SYSTEM = [Path("/usr"), Path("/usr/local"), Path("/opt/libtorch")]

ARCHIVE = (
    "https://download.pytorch.org/libtorch/cpu/"
    f"libtorch-cxx11-abi-shared-with-deps-{VERSION}%2Bcpu.zip"
)
ARCHIVE_SHA256 = "9d16cc0da41e057f20c0be5f26d7418f969e857631cfcb86550ccdecfee8de60"
WHEELS = ROOT / "scripts" / "libtorch.txt"
# The torch wheel holds CUDA's half of libtorch too, three quarters of its size.
WANTED = re.compile(
    r"torch/include/.*[^/]"
    r"|torch/share/cmake/Torch/TorchConfig\.cmake"
    r"|torch/lib/(libtorch_cpu\.so|libc10\.so|libgomp-[^/]*\.so\.1)"
    r"|nvidia/cuda_(?:runtime|cupti)/lib/(libcudart\.so\.12|libcupti\.so\.12)"
)


class Unavailable(Exception):
    """Why libtorch can't be had in one way."""


def usable(folder: Path) -> bool:
    """Whether `folder` holds libraries and headers of the version that tch is made for."""
    header = folder / "include/torch/csrc/api/include/torch/version.h"
    libraries = [folder / "lib" / f"libtorch_cpu.{end}" for end in ("so", "dylib")]
    if not header.is_file() or not any(library.is_file() for library in libraries):
        return False
    found = re.search(r'TORCH_VERSION\s+\\?\s*"([\d.]+)', header.read_text())
    return found is not None and found[1] == VERSION


def cxx11_abi(folder: Path) -> str:
    """The string ABI of the C++ library that libtorch was built with: PyPI's has 0."""
    notes = folder / "share/cmake/Torch/TorchConfig.cmake"
    text = notes.read_text() if notes.is_file() else ""
    found = re.search(r"_GLIBCXX_USE_CXX11_ABI=(\d)", text)
    return found[1] if found else "1"


def of_python() -> "Path | None":
    """The folder of torch in the active Python environment, found without importing it."""
    ask = (
        "import importlib.util as u; s = u.find_spec('torch');"
        "print(s.submodule_search_locations[0] if s else '')"
    )
    for python in dict.fromkeys(filter(None, [shutil.which("python3"), shutil.which("python")])):
        answer = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=False)
        folder = answer.stdout.strip()
        if folder and usable(Path(folder)):
            return Path(folder)
    return None


def find() -> "tuple[Path, str] | None":
    """A libtorch that is there already, and how it was found."""
    given = os.environ.get("LIBTORCH")
    if given:
        if not usable(Path(given)):
            sys.exit(f"LIBTORCH is {given}, which holds no libtorch {VERSION}; unset or correct it")
        return Path(given).resolve(), "LIBTORCH"
    if usable(CACHE):
        return CACHE, "fetched before"
    for folder in SYSTEM:
        if usable(folder):
            return folder, "the system's"
    python = of_python()
    return (python, "Python's torch") if python else None


def obtain() -> tuple[Path, str]:
    """Fills .cache/libtorch in the first way that works."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        sys.exit(
            f"libtorch {VERSION} is fetched for x86-64 Linux only; here, `pip install "
            f"torch=={VERSION}` or set LIBTORCH to an unpacked libtorch {VERSION}, then try again"
        )
    failures = []
    for source, fetch in (("the site of PyTorch", from_archive), ("PyPI", from_wheels)):
        CACHE.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE.parent, prefix="libtorch-") as scratch:
            try:
                folder = fetch(Path(scratch))
            except (Unavailable, OSError, zipfile.BadZipFile) as fault:
                print(f"{source}: {fault}", file=sys.stderr)
                failures.append(source)
                continue
            shutil.rmtree(CACHE, ignore_errors=True)
            folder.rename(CACHE)
        return CACHE, f"from {source}"
    sys.exit(
        f"libtorch {VERSION} can't be fetched from {' or '.join(failures)} (reasons above). "
        f"Connect to a network, or `pip install torch=={VERSION}`, or set LIBTORCH to an unpacked "
        f"libtorch {VERSION}, then try again"
    )


def from_archive(scratch: Path) -> Path:
    """The archive that tch downloads: 180 MB, CPU only."""
    file = scratch / "libtorch.zip"
    digest = hashlib.sha256()
    try:
        with urllib.request.urlopen(ARCHIVE, timeout=20) as answer, file.open("wb") as out:
            size, got = int(answer.headers.get("Content-Length", 0)), 0
            while piece := answer.read(1 << 20):
                out.write(piece)
                digest.update(piece)
                got += len(piece)
                progress(got, size)
    except OSError as fault:
        raise Unavailable(f"can't be reached ({fault})") from fault
    if digest.hexdigest() != ARCHIVE_SHA256:
        raise Unavailable(f"sent a file of another SHA-256, {digest.hexdigest()}: not used")
    with zipfile.ZipFile(file) as archive:
        archive.extractall(scratch)
    return scratch / "libtorch"


def progress(got: int, size: int) -> None:
    """Draws one line, on terminals only."""
    if sys.stderr.isatty():
        share = got / size if size else 0
        bar = "#" * round(share * 30)
        end = "\n" if got == size else ""
        print(f"\rlibtorch [{bar:<30}] {got >> 20} of {size >> 20} MiB", end=end, file=sys.stderr)


def from_wheels(scratch: Path) -> Path:
    """libtorch's CPU half out of PyPI's wheels: 810 MB, of which 530 MB stay."""
    print("fetching PyPI's torch wheel (800 MB, once) ...", file=sys.stderr)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--no-deps"]
    # One exact wheel, whichever Python runs this.
    target = ["--only-binary=:all:", "--platform=manylinux1_x86_64", "--implementation=cp"]
    target += ["--python-version=3.11", "--abi=cp311", "--abi=none"]
    command = [*pip, *target, "--require-hashes", "-r", str(WHEELS), "-d", str(scratch)]
    # pip's words go to stderr, so that this script's stdout stays one line.
    if subprocess.run(command, stdout=sys.stderr, check=False).returncode:
        raise Unavailable("pip could not download the wheels")
    folder = scratch / "libtorch"
    for wheel in sorted(scratch.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            for entry in filter(lambda name: WANTED.fullmatch(name), archive.namelist()):
                unpack(archive, entry, folder)
    # The wheel's own libtorch.so asks for CUDA's half; ours passes the linker on.
    (folder / "lib" / "libtorch.so").write_text("INPUT(libtorch_cpu.so libc10.so)\n")
    return folder


def unpack(archive: zipfile.ZipFile, entry: str, folder: Path) -> None:
    """Writes one file of a wheel to where a libtorch folder has it."""
    path = PurePosixPath(entry)
    inside = PurePosixPath("lib", path.name) if ".so" in path.name else path.relative_to("torch")
    file = folder / inside
    file.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(entry) as source, file.open("wb") as out:
        shutil.copyfileobj(source, out)


def configure(folder: Path) -> None:
    """Writes cargo's [env] section; a file that someone else wrote stays as it is."""
    inside = folder.is_relative_to(ROOT)
    value = json.dumps(str(folder.relative_to(ROOT) if inside else folder))
    relative = ", relative = true" if inside else ""
    text = (
        f"{MARK}\n[env]\nLIBTORCH = {{ value = {value}{relative} }}\n"
        f'LIBTORCH_CXX11_ABI = "{cxx11_abi(folder)}"\n'
    )
    before = CONFIG.read_text() if CONFIG.is_file() else MARK
    if MARK not in before:
        sys.exit(f"{CONFIG} is yours and stays as it is; add to it:\n{text}")
    if before != text:
        CONFIG.parent.mkdir(exist_ok=True)
        CONFIG.write_text(text)


def main() -> None:
    """Finds or obtains libtorch and says which."""
    folder, how = find() or obtain()
    configure(folder)
    print(f"libtorch {VERSION}: {folder} ({how})")


if __name__ == "__main__":
    main()
