"""Nginx's settings as they are deployed, with a certificate made here."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from core.data_folder import REPOSITORY
from tests.support.portal_driver import HOST

DEPLOY = REPOSITORY / "deploy"


def certificate(folder: Path) -> None:
    """Write fullchain.pem and privkey.pem."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    key, chain = str(folder / "privkey.pem"), str(folder / "fullchain.pem")
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", chain, "-days", "2"]
        + ["-subj", "/CN=" + HOST],
        check=True, capture_output=True,
    )  # fmt: skip


def nginx_settings(folder: Path, upstream: str) -> Path:
    """Write Nginx's settings as deployed, for this folder, with a new certificate; port 443 stays."""
    certificate(folder)
    text = (DEPLOY / "nginx" / "hark.conf.template").read_text()
    text = text.replace("${HARK_HOST}", HOST).replace("${CERTIFICATE}", ".")
    text = text.replace("http://web:8000", "http://hark").replace("/etc/nginx/certificates", str(folder))
    text = f"upstream hark {{ {upstream} }}\n" + text.replace("/var/log/nginx", str(folder))
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    settings = folder / "nginx.conf"
    settings.write_text(
        f"daemon off;\npid {folder}/pid;\nerror_log {folder}/error.log;\nevents {{}}\nhttp {{\n{temporary}{text}}}\n"
    )
    return settings
