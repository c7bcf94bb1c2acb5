"""onnxruntime-web, which a bundle's ``detect.html`` needs: fetched from npm once, checked, and copied next to it.

It takes 14 MB and is the same for all detectors, so it is neither in a bundle nor in the repository.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from core.data_folder import atomic_path, storing
from core.errors import HarkError
from core.http import HttpError, Server
from core.worded import worded
from model.runtime.detector import Bundle, BundleError
from pipeline.serving.detection import as_hark_error
from pipeline.training.packing.bundle import programs

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
# Digest of the tarball, in the format of package-lock.json.
INTEGRITY = "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
REGISTRY = "https://registry.npmjs.org"  # npm's own; npm's variable NPM_CONFIG_REGISTRY names another
FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")  # the CPU version, with its loader
MAX_BYTES = 200_000_000  # maximum bytes of the package
TIMEOUT_S = 60.0
NPM_TIMEOUT_S = 600.0


def web_runtime(data: Path, tarball: Path | None = None) -> Path:
    """Return the folder with :data:`FILES`, after fetching them into the data folder if they are missing.

    ``tarball`` is the package as made by ``npm pack``, for a machine without network. Raises HarkError if the package
    can neither be found nor fetched, or its digest is not the pinned one.
    """
    folder = data / "cache" / f"{PACKAGE}-{VERSION}"
    if all((folder / name).is_file() for name in FILES):
        return folder
    if tarball is not None:
        try:
            content = tarball.read_bytes()
        except OSError as error:
            what_to_do = f"Give the file that npm pack {PACKAGE}@{VERSION} wrote."
            raise HarkError(f"{tarball} cannot be read.", f"{error.strerror}.", what_to_do) from error
    else:
        content = _fetched()
    if not is_pinned(content):
        raise HarkError(
            f"{PACKAGE} was rejected.",
            f"{tarball or 'What npm delivered'} does not have the digest of version {VERSION}.",
            f"Try again later, or download it by hand: npm pack {PACKAGE}@{VERSION}. Then use --ort with that file.",
        )
    _unpack(content, folder)
    return folder


def is_pinned(content: bytes) -> bool:
    return f"sha512-{base64.b64encode(hashlib.sha512(content).digest()).decode()}" == INTEGRITY


def _fetched() -> bytes:
    """Fetch the tarball: with npm if it is installed, because it knows the machine's mirrors, otherwise directly."""
    failures = []
    if npm := shutil.which("npm"):
        with tempfile.TemporaryDirectory() as folder:
            command = [npm, "pack", "--silent", f"{PACKAGE}@{VERSION}"]
            try:
                done = subprocess.run(
                    command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=NPM_TIMEOUT_S
                )
                packed = list(Path(folder).glob("*.tgz"))
                if done.returncode == 0 and packed:
                    return packed[0].read_bytes()
                failures.append(f"npm: {(done.stderr.strip() or 'it gave no file').splitlines()[-1][:200]}")
            except (OSError, subprocess.TimeoutExpired) as error:
                failures.append(f"npm: {error}")
    registry = os.environ.get("NPM_CONFIG_REGISTRY", REGISTRY).rstrip("/")
    server = Server(
        registry, "The registry", "Try again later.", timeout_s=TIMEOUT_S, max_bytes=MAX_BYTES, redirects=True
    )
    try:
        with storing(worded("downloading %(name)s", name=PACKAGE)), tempfile.TemporaryDirectory() as folder:
            server.download(f"/{PACKAGE}/-/{PACKAGE}-{VERSION}.tgz", Path(folder) / "package.tgz")
            return (Path(folder) / "package.tgz").read_bytes()
    except HttpError as error:
        failures.append(error.why)
    raise HarkError(
        f"{PACKAGE} could not be downloaded.",
        f"{'; '.join(failures).rstrip('.')}.",
        f"Connect to the network and try again. Or run npm pack {PACKAGE}@{VERSION} on another machine, copy the file "
        "here, and use --ort with it.",
    )


def _unpack(tarball: bytes, folder: Path) -> None:
    with (
        storing(worded("unpacking %(name)s", name=PACKAGE)),
        tarfile.open(fileobj=io.BytesIO(tarball), mode="r:gz") as archive,
    ):
        for name in FILES:
            member = archive.extractfile(f"package/dist/{name}")
            assert member is not None
            with atomic_path(folder / name) as temporary:
                temporary.write_bytes(member.read())


def unpack_for_browser(bundle: Path, folder: Path, data: Path, tarball: Path | None = None) -> Path:
    """Unpack a bundle (zip or folder) for a web server: its files, and ``ort/`` next to detect.html; return the page.

    A bundle without detect.html gets the current one.

    Raises HarkError if ``bundle`` is not a bundle or is damaged, or onnxruntime-web is not available.
    """
    try:
        opened = Bundle(bundle)
        contents = {name: opened.read(name) for name in opened.manifest["files"]}
    except BundleError as error:
        raise as_hark_error(error) from error
    for name, content in programs().items():
        contents.setdefault(name, content)
    runtime = web_runtime(data, tarball)
    with storing("unpacking the bundle"):
        (folder / "ort").mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            if Path(name).name == name:  # those in folders are for devices
                (folder / name).write_bytes(content)
        (folder / "manifest.json").write_text(json.dumps(opened.manifest, indent=1, ensure_ascii=False), "utf-8")
        for name in FILES:
            shutil.copyfile(runtime / name, folder / "ort" / name)
    return folder / "detect.html"
