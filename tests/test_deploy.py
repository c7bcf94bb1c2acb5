"""The files of deploy/ agree with each other and with Hark; programs that know their formats accept them.

Those are skipped where they are not installed (Debian: docker-compose, nginx, prometheus, systemd)."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from command_line.application import build_parser
from core.data_folder import REPOSITORY
from tests.support.portal_driver import HOST
from webui.jobs.services import LANES

DEPLOY = REPOSITORY / "deploy"
COMPOSES = ("compose.yaml", "compose.production.yaml", "compose.cuda.yaml")
PINNED = re.compile(r"[\w./-]+:v?\d+\.\d+\.?\d*[\w.-]*")
FILLED_IN = {
    "HARK_HOST": HOST,
    **dict.fromkeys(("POSTGRES_PASSWORD", "REDIS_PASSWORD", "HARK_METRICS_TOKEN", "GRAFANA_PASSWORD"), "0123abcd"),
}


def compose(name: str) -> dict[str, Any]:
    loaded = yaml.safe_load((DEPLOY / name).read_text())
    assert isinstance(loaded, dict)
    return loaded


def accepted(*command: str, folder: Path = REPOSITORY) -> None:
    """Run a program's own check. Skips where it is not installed."""
    found = shutil.which(command[0], path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        pytest.skip(f"{command[0]} is not installed")
    environment = {**os.environ, **FILLED_IN}
    done = subprocess.run(
        [found, *command[1:]], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_image_is_pinned_and_runs_as_nobody_in_particular() -> None:
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    (python,) = [line.partition("=")[2] for line in lines if line.startswith("ARG PYTHON=")]
    assert PINNED.fullmatch(f"python:{python}")
    assert {line.split()[1] for line in lines if line.startswith("FROM")} == {"python:${PYTHON}"}
    (user,) = [line.split()[1] for line in lines if line.startswith("USER")]
    assert int(user.partition(":")[0]) >= 1000
    assert any(line.startswith("HEALTHCHECK") for line in lines) and "/live" in "\n".join(lines)
    for copied in (name for line in lines if line.startswith("COPY hark") for name in line.split()[1:-1]):
        assert (REPOSITORY / copied).is_file()
    (command,) = [json.loads(line.partition(" ")[2]) for line in lines if line.startswith("CMD [")]
    assert build_parser().parse_args(command).host == "0.0.0.0"


def test_nothing_secret_and_nothing_built_goes_into_an_image() -> None:
    left_out = set((REPOSITORY / ".dockerignore").read_text().split("\n"))
    assert {".git", ".venv", "data", "**/.env", "deploy/.env", "deploy/certificates"} <= left_out


@pytest.mark.parametrize("name", COMPOSES)
def test_what_compose_names_is_there(name: str) -> None:
    loaded = compose(name)
    networks, volumes, secrets = (set(loaded.get(kind, {})) for kind in ("networks", "volumes", "secrets"))
    for service, said in loaded["services"].items():
        if "build" in said:
            build = said["build"]
            assert "dockerfile" not in build or (DEPLOY / build["context"] / build["dockerfile"]).is_file()
        else:
            assert PINNED.fullmatch(said["image"]), service
        for volume in said.get("volumes", ()):
            source = volume.partition(":")[0]
            assert source in volumes or source.startswith("${") or (DEPLOY / source).is_file(), volume
        assert set(said.get("networks", ())) <= networks and set(said.get("secrets", ())) <= secrets
        assert set(said.get("depends_on", ())) <= set(loaded["services"])
        if "command" in said and said.get("image") == "hark":
            build_parser().parse_args(said["command"])


def test_every_lane_has_a_worker_and_only_the_proxy_is_reached_from_elsewhere() -> None:
    services = compose("compose.production.yaml")["services"]
    commands = [build_parser().parse_args(said["command"]) for said in services.values() if said.get("image") == "hark"]
    assert sorted(lane for one in commands for lane in getattr(one, "lane", None) or ()) == sorted(LANES)
    ports = {name: said["ports"] for name, said in services.items() if "ports" in said}
    assert set(ports) == {"nginx", "grafana"} and all(port.startswith("127.0.0.1:") for port in ports["grafana"])
    assert {name for name, said in services.items() if said.get("networks") == ["inside"]} == {"postgres", "redis"}


def test_every_setting_of_compose_is_in_the_example() -> None:
    named = re.findall(r"(?<!\$)\$\{(\w+)", (DEPLOY / "compose.production.yaml").read_text())
    example = (DEPLOY / "example.env").read_text()
    assert named and all(re.search(rf"^(# )?{name}=", example, re.MULTILINE) for name in named)


@pytest.mark.parametrize("names", [COMPOSES[:1], COMPOSES[1:2], COMPOSES[1:]], ids="+".join)
def test_compose_accepts_its_files(names: tuple[str, ...], tmp_path: Path) -> None:
    command = ["docker-compose", "--project-directory", str(DEPLOY)]
    for name in names:
        # Debian 12 has version 1.29, which knows all but these two.
        text = re.sub(r"^name: .*$", "", (DEPLOY / name).read_text(), flags=re.MULTILINE)
        text = text.replace("environment: HARK_METRICS_TOKEN", "file: ./example.env")
        (tmp_path / name).write_text(text)
        command += ["-f", str(tmp_path / name)]
    accepted(*command, "config", "-q")


def nginx_settings(folder: Path, upstream: str) -> Path:
    """Nginx's settings as they are deployed, for this folder, with a certificate made here; port 443 is as it is."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    key, certificate = folder / "privkey.pem", folder / "fullchain.pem"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "2"]
        + ["-subj", "/CN=" + HOST],
        check=True, capture_output=True,
    )  # fmt: skip
    text = (DEPLOY / "nginx" / "hark.conf.template").read_text().replace("${HARK_HOST}", HOST)
    text = text.replace("server web:8000;", upstream).replace("/etc/nginx/certificates", str(folder))
    text = text.replace("/var/log/nginx", str(folder))
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    settings = folder / "nginx.conf"
    settings.write_text(
        f"daemon off;\npid {folder}/pid;\nerror_log {folder}/error.log;\nevents {{}}\nhttp {{\n{temporary}{text}}}\n"
    )
    return settings


def test_nginx_accepts_its_settings(tmp_path: Path) -> None:
    accepted("nginx", "-t", "-c", str(nginx_settings(tmp_path, "server 127.0.0.1:8000;")))


def test_what_systemd_starts_are_commands_of_hark() -> None:
    for unit in sorted((DEPLOY / "systemd").glob("*.service")):
        (start,) = re.findall(r"^ExecStart=(.*)$", unit.read_text(), re.MULTILINE)
        program, main, *command = start.split()
        assert (program, main) == ("/opt/hark/.venv/bin/python", "/opt/hark/main.py")
        build_parser().parse_args([word.replace("%i", "audio") for word in command])


def test_systemd_accepts_its_units(tmp_path: Path) -> None:
    for unit in (DEPLOY / "systemd").glob("*.service"):
        text = unit.read_text().replace("/opt/hark/.venv/bin/python", "/bin/true")
        (tmp_path / unit.name).write_text(text)
    accepted("systemd-analyze", "verify", "--man=no", *sorted(str(path) for path in tmp_path.glob("*.service")))


def test_prometheus_accepts_its_settings_and_rules() -> None:
    accepted("promtool", "check", "config", "--syntax-only", str(DEPLOY / "prometheus" / "prometheus.yml"))
    accepted("promtool", "check", "rules", str(DEPLOY / "alerts.yml"))
