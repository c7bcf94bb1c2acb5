"""``bundle-web``: a detector that runs in a browser."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from command_line.console import Screen
from command_line.options import Commands, Parser, define_command, folder
from core.data_folder import data_folder


def register(commands: Commands[Parser]) -> None:
    parser = define_command(commands, "bundle-web", "BUNDLE [options]", run_bundle_web)
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="the zip that training made, or its folder")
    parser.add_argument("--to", type=folder, metavar="DIR", help="where to unpack it (default: next to the zip)")
    parser.add_argument(
        "--ort", type=Path, metavar="FILE", help="onnxruntime-web as npm packs it (default: fetched from npm, once)"
    )


def run_bundle_web(options: argparse.Namespace, screen: Screen) -> int:
    """Run ``bundle-web BUNDLE``: add onnxruntime-web to the bundle's files, ready for any web server."""
    from pipeline.serving.browser import unpack_for_browser

    bundle: Path = options.bundle
    target = options.to or (bundle if bundle.is_dir() else bundle.parent / f"{bundle.stem}-web")
    page = unpack_for_browser(bundle, target, data_folder(), options.ort)
    screen.result({"page": str(page)})
    screen.show(f"{page} is ready. A browser needs a server for it:")
    screen.show_line(f"  python -m http.server --bind 127.0.0.1 --directory {shlex.quote(str(page.parent))} 8080")
    screen.show_line(f"and then http://localhost:8080/{page.name}")
    return 0
