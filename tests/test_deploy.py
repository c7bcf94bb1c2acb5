"""The files of deploy/ agree with each other and with Hark, and programs that know their formats accept them.

Tests of programs that are not installed are skipped (Debian: docker-compose, nginx, prometheus,
prometheus-alertmanager, systemd).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import ssl
import struct
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from socketserver import BaseRequestHandler, UDPServer
from threading import Thread
from typing import Any

import pytest
import yaml

from command_line.application import build_parser
from core.data_folder import REPOSITORY
from pipeline.jobs import QUEUES
from tests.support.http_server import serving
from tests.support.mounting import mount
from tests.support.nginx import DEPLOY, certificate, nginx_settings
from tests.support.portal_driver import HOST
from tests.support.processes import free_port
from tests.support.servers import program, running, wait_for

KUBERNETES = DEPLOY / "kubernetes"
NGINX = DEPLOY / "nginx" / "hark.conf.template"
COMPOSES = ("compose.yaml", "compose.production.yaml", "compose.cuda.yaml")
PINNED = re.compile(r"[\w./-]+:v?\d+\.\d+\.?\d*[\w.-]*")
FILLED_IN = {
    "HARK_HOST": HOST,
    **dict.fromkeys((f"{name}_PASSWORD" for name in ("POSTGRES", "REDIS", "S3", "GRAFANA")), "0123abcd"),
    "HARK_METRICS_TOKEN": "0123abcd",
    "ALERT_URL": "http://127.0.0.1:1/",
}
BACKS_UP = re.compile(r"main\.py backup (/\S+)/hark-`date \+%%?u`\.zip")


def compose(name: str) -> dict[str, Any]:
    loaded = yaml.safe_load((DEPLOY / name).read_text())
    assert isinstance(loaded, dict)
    return loaded


def accepted(*command: str, folder: Path = REPOSITORY) -> None:
    """Run a program's own check. Skips without the program."""
    found = shutil.which(command[0], path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        pytest.skip(f"{command[0]} is not installed")
    environment = {**os.environ, **FILLED_IN}
    done = subprocess.run(
        [found, *command[1:]], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_image_is_pinned_and_runs_without_root() -> None:
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


def start_of_the_image() -> list[str]:
    """Return the image's command as words."""
    text = (DEPLOY / "Dockerfile").read_text()
    entry, command = (re.findall(rf"^{what} (\[.*\])$", text, re.MULTILINE)[-1] for what in ("ENTRYPOINT", "CMD"))
    return [*json.loads(entry), *json.loads(command)]


def test_the_deploying_page_has_the_images_start_command() -> None:
    page = (REPOSITORY / "docs" / "deploying.md").read_text()
    started = " ".join(start_of_the_image())
    blocks = re.findall(r"^```\w*\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert blocks[0].strip() == started
    (heroku,) = [yaml.safe_load(block) for block in blocks if block.startswith("build:")]
    assert heroku["run"]["web"] == started and (REPOSITORY / heroku["build"]["docker"]["web"]).is_file()
    named = re.findall(r"`((?:serve|worker) [^`]+)`", page)
    assert len(named) >= 4
    for command in named:
        build_parser().parse_args(command.split())
    assert page.count("`serve --host 0.0.0.0`") >= 3 and started.endswith("serve --host 0.0.0.0")


@pytest.mark.parametrize(("said", "port"), [("9123", 9123), ("", 8000), ("tcp://10.0.0.1:80", 8000)])
def test_the_port_comes_from_the_platform(monkeypatch: pytest.MonkeyPatch, said: str, port: int) -> None:
    monkeypatch.setenv("PORT", said)
    assert build_parser().parse_args(["serve"]).port == port
    assert build_parser().parse_args(["serve", "--port", "7000"]).port == 7000


def test_secrets_and_build_outputs_stay_out_of_the_image() -> None:
    left_out = set((REPOSITORY / ".dockerignore").read_text().split("\n"))
    assert {".git", ".venv", "data", "**/.env", "deploy/.env", "deploy/certificates"} <= left_out


@pytest.mark.parametrize("name", COMPOSES)
def test_files_named_by_compose_exist(name: str) -> None:
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
        if "command" in said and said.get("image") == "hark" and "entrypoint" not in said:
            build_parser().parse_args(said["command"])


def test_daily_backups_are_stored_outside_the_data_folder() -> None:
    service = compose("compose.production.yaml")["services"]["backup"]
    unit = (DEPLOY / "systemd" / "hark-backup.service").read_text()
    (job,) = of_kind("CronJob").values()
    (container,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    mounted = [volume.rpartition(":")[2] for volume in service["volumes"]]
    for said, places in (
        (service["command"][2], mounted),
        (container["command"][2], [volume["mountPath"] for volume in container["volumeMounts"]]),
        (unit, [f"/var/lib/{name}" for name in re.findall(r"^StateDirectory=(.*)$", unit, re.MULTILINE)[0].split()]),
    ):
        data, elsewhere = places
        assert BACKS_UP.findall(said) == [elsewhere] and not Path(elsewhere).is_relative_to(data)
    (made,) = re.findall(r"install -d -o hark .*", (DEPLOY / "Dockerfile").read_text())
    assert set(mounted) <= set(made.split()), "the service's user must be able to write them"


def test_every_queue_has_a_worker_and_only_the_proxy_is_exposed() -> None:
    services = compose("compose.production.yaml")["services"]
    ours = [said for said in services.values() if said.get("image") == "hark" and "entrypoint" not in said]
    commands = [build_parser().parse_args(said["command"]) for said in ours]
    assert sorted(queue for one in commands for queue in getattr(one, "queue", None) or ()) == sorted(QUEUES)
    ports = {name: said["ports"] for name, said in services.items() if "ports" in said}
    assert set(ports) == {"nginx", "grafana"} and all(port.startswith("127.0.0.1:") for port in ports["grafana"])
    inside = {name for name, said in services.items() if said.get("networks") == ["inside"]}
    assert inside == {"postgres", "redis"}


def test_the_restore_instructions_start_everything_that_they_stop() -> None:
    text = (DEPLOY / "README.md").read_text()
    (stopped,), (started,) = (
        re.findall(rf"^docker compose -f \S+ {verb} (.*)$", text, re.M) for verb in ("stop", "start")
    )
    services = compose("compose.production.yaml")["services"].items()
    ours = {name for name, service in services if service.get("image") == "hark"}
    assert started == stopped and set(stopped.split()) == ours
    (named,) = re.findall(r"^units=(.*)$", text, re.MULTILINE)
    units = [unit for words in re.findall('"(.*?)"', named) for unit in words.split()]
    files = {re.sub("@[a-z]+", "@", unit if "." in unit else f"{unit}.service") for unit in units}
    assert files == {path.name for path in (DEPLOY / "systemd").iterdir()} - {"hark-backup.service"}
    assert {unit.partition("@")[2] for unit in units if "@" in unit} == set(QUEUES)
    assert re.findall(r"^systemctl (stop|start) (.*)$", text, re.MULTILINE) == [("stop", "$units"), ("start", "$units")]
    replicas = {
        name: one["spec"]["replicas"] for name, one in of_kind("Deployment").items() if "replicas" in one["spec"]
    }
    scaled = re.findall(r"kubectl -n hark scale deployment (.*?) --replicas=(\d)", text)
    assert scaled[0] == (" ".join(replicas), "0") and {name: int(number) for name, number in scaled[1:]} == replicas
    assert text.count("annotate scaledobject --all autoscaling.keda.sh/paused-replicas") == 2
    assert text.index("delete job restore --ignore-not-found") < text.index("create job restore")


def test_every_compose_setting_is_in_the_example_file() -> None:
    named = re.findall(r"(?<!\$)\$\{(\w+)", (DEPLOY / "compose.production.yaml").read_text())
    example = (DEPLOY / "example.env").read_text()
    assert named and all(re.search(rf"^(# )?{name}=", example, re.MULTILINE) for name in named)


@pytest.mark.parametrize("names", [COMPOSES[:1], COMPOSES[1:2], COMPOSES[1:]], ids="+".join)
def test_docker_compose_accepts_the_files(names: tuple[str, ...], tmp_path: Path) -> None:
    command = ["docker-compose", "--project-directory", str(DEPLOY)]
    for name in names:
        # Debian 12 has version 1.29, which knows all but these two.
        text = re.sub(r"^name: .*$", "", (DEPLOY / name).read_text(), flags=re.MULTILINE)
        text = re.sub(r"environment: (HARK_METRICS_TOKEN|ALERT_URL)$", "file: ./example.env", text, flags=re.MULTILINE)
        (tmp_path / name).write_text(text)
        command += ["-f", str(tmp_path / name)]
    accepted(*command, "config", "-q")


def test_nginx_accepts_the_settings(tmp_path: Path) -> None:
    accepted("nginx", "-t", "-c", str(nginx_settings(tmp_path, "server 127.0.0.1:8000;")))


def test_nginx_serves_renewed_certificates(tmp_path: Path) -> None:
    """The links of live/ point out of their folder; Nginx sees only what compose mounts."""
    settings, letsencrypt, mounted = nginx_settings(tmp_path, "server 127.0.0.1:1;"), tmp_path / "all", tmp_path / "etc"
    live, archive = letsencrypt / "live" / HOST, letsencrypt / "archive" / HOST
    for folder in (live, archive, mounted):
        folder.mkdir(parents=True)

    def renewed(number: int) -> str:
        """Make a new pair and point the links at it, as certbot does. Returns the certificate."""
        certificate(tmp_path)
        for name in ("fullchain", "privkey"):
            (tmp_path / f"{name}.pem").rename(archive / f"{name}{number}.pem")
            (live / f"{name}.pem").unlink(missing_ok=True)
            (live / f"{name}.pem").symlink_to(f"../../archive/{HOST}/{name}{number}.pem")
        return (live / "fullchain.pem").read_text()

    said = (DEPLOY / "example.env").read_text()
    named, which = (re.findall(rf"^# {name}=(.*)$", said, re.MULTILINE)[0] for name in ("CERTIFICATES", "CERTIFICATE"))
    first = renewed(1)
    if not mount("--bind", str(letsencrypt / Path(named).relative_to("/etc/letsencrypt")), str(mounted)):
        pytest.skip("mounting is not permitted here")
    port, plain = free_port(), free_port()
    text = settings.read_text().replace(f"{tmp_path}/./", f"{mounted}/{which.replace('hark.example.org', HOST)}/")
    text = text.replace("listen 443 ", f"listen 127.0.0.1:{port} ").replace("listen 80;", f"listen 127.0.0.1:{plain};")
    settings.write_text(text)
    shell, option, command = compose("compose.production.yaml")["services"]["nginx"]["command"]
    ours = f"{program('nginx')} -c {settings}"
    assert "sleep 1d" in command and "nginx -s reload" in command
    command = command.replace("sleep 1d", "sleep 0.2").replace("nginx -s reload", f"{ours} -s reload || exit")
    command = command.replace("/docker-entrypoint.sh nginx -g 'daemon off;'", ours)

    def served() -> str:
        return ssl.get_server_certificate(("127.0.0.1", port)).strip()

    try:
        with running([shell, option, command], port, tmp_path):
            assert served() == first.strip()
            second = renewed(2)
            wait_for(lambda: served() == second.strip())
    finally:
        subprocess.run(["umount", "-l", mounted], check=True)


def test_nginx_resolves_the_web_servers_again(tmp_path: Path) -> None:
    """The name has another address after `docker compose up` has replaced their containers."""
    settings = nginx_settings(tmp_path, "server 127.0.0.1:1;")
    port, plain, web = free_port(), free_port(), free_port()
    with small_dns("127.0.0.2") as (dns, addresses), ExitStack() as stack:
        text = settings.read_text().replace("set $web http://hark;", f"set $web http://web:{web};")
        text = text.replace("resolver 127.0.0.11 valid=10s", f"resolver 127.0.0.1:{dns} valid=1s")
        text = text.replace("listen 443 ssl http2", f"listen 127.0.0.1:{port}")  # without TLS
        text = re.sub("ssl_certificate.*", "", text).replace("listen 80;", f"listen 127.0.0.1:{plain};")
        settings.write_text(text)

        def answer() -> str:
            request = urllib.request.Request(f"http://127.0.0.1:{port}/", headers={"Host": HOST})
            try:
                with urllib.request.urlopen(request, timeout=5) as said:
                    return str(said.read().decode())
            except urllib.error.HTTPError as error:
                return str(error.code)

        with serving(lambda *asked: (200, {}, b"the first"), ("127.0.0.2", web)):
            stack.enter_context(running([program("nginx"), "-c", str(settings)], port, tmp_path))
            assert answer() == "the first"
        stack.enter_context(serving(lambda *asked: (200, {}, b"the second"), ("127.0.0.3", web)))
        addresses[:] = ["127.0.0.3"]
        wait_for(lambda: answer() == "the second")


@contextmanager
def small_dns(*addresses: str) -> Iterator[tuple[int, list[str]]]:
    """Run a name server that returns these addresses, which may be changed, for every name; yield its port."""
    known = list(addresses)

    class Answer(BaseRequestHandler):
        def handle(self) -> None:
            asked, back = self.request
            question = asked[12 : asked.index(b"\0", 12) + 5]
            head = asked[:2] + struct.pack(">5H", 0x8180, 1, len(known), 0, 0)
            found = (struct.pack(">3HIH", 0xC00C, 1, 1, 1, 4) + socket.inet_aton(one) for one in known)
            back.sendto(head + question + b"".join(found), self.client_address)

    with UDPServer(("127.0.0.1", 0), Answer) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1], known
        server.shutdown()


def test_systemd_units_start_valid_commands() -> None:
    for unit in sorted((DEPLOY / "systemd").glob("*.service")):
        (start,) = re.findall(r"^ExecStart=(?:/bin/sh -c 'exec )?(.*?)'?$", unit.read_text(), re.MULTILINE)
        python, main, *command = start.replace("`date +%%u`", "1").split()
        assert (python, main) == ("/opt/hark/.venv/bin/python", "/opt/hark/main.py")
        build_parser().parse_args([word.replace("%i", "general") for word in command])


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    for unit in (DEPLOY / "systemd").iterdir():
        text = unit.read_text().replace("/opt/hark/.venv/bin/python", "/bin/true")
        (tmp_path / unit.name).write_text(text)
    accepted("systemd-analyze", "verify", "--man=no", *sorted(map(str, tmp_path.iterdir())))


def test_prometheus_accepts_the_settings_and_rules() -> None:
    accepted("promtool", "check", "config", "--syntax-only", str(DEPLOY / "prometheus" / "prometheus.yml"))
    accepted("promtool", "check", "rules", str(DEPLOY / "alerts.yml"))


def test_the_memory_of_every_web_server_is_scraped() -> None:
    services = compose("compose.production.yaml")["services"]
    jobs = {job["job_name"]: job for job in compose("prometheus/prometheus.yml")["scrape_configs"]}
    ((alert,), *_) = [
        re.findall(r'process_\w+{job=~"(.*?)"}', rule["expr"])
        for group in compose("alerts.yml")["groups"] for rule in group["rules"] if "process_" in rule["expr"]
    ]  # fmt: skip
    assert alert.split("|") == [*jobs]
    any_server, every_server = jobs.values()
    (names,) = every_server["dns_sd_configs"]
    assert services["web"]["deploy"]["replicas"] > 1 and names == {"names": ["web"], "type": "A", "port": 8000}
    assert every_server["authorization"] == any_server["authorization"]
    kept = [job["metric_relabel_configs"][0] for job in jobs.values()]
    assert [(one["regex"], one["action"]) for one in kept] == [("process_.*", "drop"), ("process_.*", "keep")]


def test_the_operating_page_names_the_addresses_that_nginx_does_not_log() -> None:
    (section,) = re.findall(r"^map \$request_uri \$logged {(.*?)^}", NGINX.read_text(), re.MULTILINE | re.DOTALL)
    patterns = re.findall(r"^    \"?~\S?([^\s\"]+)\"? 0;$", section, re.MULTILINE)
    (sentence,) = re.findall(r"for URLs below (.*?):", (REPOSITORY / "docs" / "operating.md").read_text(), re.DOTALL)
    assert {one.replace("(/|%2F)", "/") for one in patterns} == set(re.findall("`(.*?)`", sentence)) and patterns
    (ingress,) = of_kind("Ingress").values()
    assert ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/enable-access-log"] == "false"


def test_alertmanager_accepts_the_settings(tmp_path: Path) -> None:
    services, secrets = (compose("compose.production.yaml")[kind] for kind in ("services", "secrets"))
    (manager,) = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["alerting"]["alertmanagers"]
    assert [target.split(":")[0] in services for target in manager["static_configs"][0]["targets"]] == [True]
    text = (DEPLOY / "prometheus" / "alertmanager.yml").read_text()
    (secret,) = re.findall(r"url_file: /run/secrets/(\w+)", text)
    assert services["alertmanager"]["secrets"] == [secret] and secret in secrets
    # Debian 12 has version 0.25, which knows none but `url`.
    (tmp_path / "alertmanager.yml").write_text(re.sub(r"url_file: .*", "url: http://127.0.0.1:1/", text))
    accepted("amtool", "check-config", str(tmp_path / "alertmanager.yml"))


def test_every_alert_fires_only_under_its_condition() -> None:
    alerts = {
        rule["alert"]
        for group in yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"]
        for rule in group["rules"]
    }
    tried = DEPLOY / "prometheus" / "alerts_test.yml"
    well, ill = yaml.safe_load(tried.read_text())["tests"]
    assert {one["alertname"] for one in well["alert_rule_test"] if not one["exp_alerts"]} == alerts
    assert {one["alertname"] for one in ill["alert_rule_test"] if one["exp_alerts"]} == alerts
    accepted("promtool", "test", "rules", str(tried))


def manifests() -> list[dict[str, Any]]:
    """Return all of deploy/kubernetes that its kustomization names."""
    (kustomization,) = yaml.safe_load_all((KUBERNETES / "kustomization.yaml").read_text())
    files = kustomization["resources"]
    assert {*files, "kustomization.yaml"} == {path.name for path in KUBERNETES.iterdir()}
    return [one for file in files for one in yaml.safe_load_all((KUBERNETES / file).read_text())]


def of_kind(kind: str) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one for one in manifests() if one["kind"] == kind}


def test_kubernetes_starts_valid_commands_without_root() -> None:
    queues: list[str] = []
    (user,) = re.findall(r"^USER (\d+):", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    for name, template in pods().items():
        pod = template["spec"]
        (container,) = pod["containers"]
        if "args" in container:
            parsed = build_parser().parse_args(container["args"])
            queues += getattr(parsed, "queue", None) or []
        assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] == int(user)
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        assert {"cpu", "memory"} <= set(container["resources"]["requests"]) and "memory" in container["resources"][
            "limits"
        ]
        assert [mount["name"] for mount in container["volumeMounts"]] == [volume["name"] for volume in pod["volumes"]]
        assert ("emptyDir" in pod["volumes"][0]) == (name == "hark-webhooks"), "only webhooks need no data folder"
    assert sorted(queues) == sorted(QUEUES)


def pods() -> dict[str, dict[str, Any]]:
    """Return the templates of all pods, by the name of their maker."""
    jobs = {name: one["spec"]["jobTemplate"]["spec"] for name, one in of_kind("CronJob").items()}
    made = {name: one["spec"] for name, one in of_kind("Deployment").items()} | jobs
    return {name: one["template"] for name, one in made.items()}


def test_pods_of_several_nodes_mount_the_data_folder() -> None:
    assert of_kind("PersistentVolumeClaim")["hark-data"]["spec"]["accessModes"] == ["ReadWriteMany"]
    for one in of_kind("Deployment").values():
        labels = one["spec"]["template"]["metadata"]["labels"]
        assert one["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_objects_referenced_in_kubernetes_manifests_exist() -> None:
    deployments, services = of_kind("Deployment"), of_kind("Service")
    (web,) = services.values()
    assert web["spec"]["selector"] == deployments["hark-web"]["spec"]["selector"]["matchLabels"]
    (ingress,) = of_kind("Ingress").values()
    (rule,) = ingress["spec"]["rules"]
    assert [path["backend"]["service"]["name"] for path in rule["http"]["paths"]] == [*services]
    settings = {name for kind in ("ConfigMap", "Secret") for one in of_kind(kind).values() for name in data_of(one)}
    assert {"DATABASE_URL", "REDIS_URL", "HARK_SECRET_KEY", "HARK_METRICS_TOKEN", "HARK_ALLOWED_HOSTS"} <= settings
    assert rule["host"] in of_kind("ConfigMap")["hark"]["data"]["HARK_ALLOWED_HOSTS"].split(",")
    claims = of_kind("PersistentVolumeClaim")
    for template in pods().values():
        pod = template["spec"]
        for source in pod["containers"][0]["envFrom"]:
            kind, named = ("ConfigMap", "configMapRef") if "configMapRef" in source else ("Secret", "secretRef")
            assert source[named]["name"] in of_kind(kind)
        for volume in pod["volumes"]:
            assert "emptyDir" in volume or volume["persistentVolumeClaim"]["claimName"] in claims


def data_of(one: dict[str, Any]) -> dict[str, str]:
    found = one.get("data") or one["stringData"]
    assert all(isinstance(value, str) for value in found.values()), "Kubernetes accepts only text"
    return found


def test_workers_scale_with_waiting_jobs() -> None:
    most = int(of_kind("ConfigMap")["hark"]["data"]["HARK_JOBS_RUNNING"])
    scaled = of_kind("ScaledObject")
    assert {one["spec"]["scaleTargetRef"]["name"] for one in scaled.values()} == {"hark-training", "hark-general"}
    for one in scaled.values():
        target = of_kind("Deployment")[one["spec"]["scaleTargetRef"]["name"]]
        queue = target["metadata"]["labels"]["part"]
        assert "replicas" not in target["spec"], "the scaler alone sets the number of replicas"
        assert target["spec"]["template"]["spec"]["containers"][0]["args"][-2:] == ["--workers", "1"]
        assert 1 <= one["spec"]["minReplicaCount"] < one["spec"]["maxReplicaCount"] <= most
        waits, works = (trigger["metadata"]["query"] for trigger in one["spec"]["triggers"])
        assert waits == f'max(hark_queue_oldest_seconds{{queue="{queue}"}})'
        assert works == f'max(hark_jobs{{queue="{queue}",state="running"}})'
        for trigger in one["spec"]["triggers"]:
            assert trigger["type"] == "prometheus" and float(trigger["metadata"]["threshold"]) > 0


def test_kubernetes_accepts_the_manifests() -> None:
    validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    for one in manifests():
        if one["kind"] != "ScaledObject":  # of KEDA
            validate.validate(one, "1.33", strict=True)


def test_keda_accepts_the_manifests() -> None:
    models = pytest.importorskip("cloudcoil.models.keda.v1alpha1", reason="cloudcoil-models-keda is not installed")
    for one in of_kind("ScaledObject").values():
        taken = models.ScaledObject.model_validate(one).model_dump(by_alias=True, exclude_none=True, mode="json")
        assert taken["spec"] == one["spec"]
