"""DATABASE_URL and REDIS_URL: valid ones, and messages about unusable URLs and servers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from core.errors import HarkError
from tests.support.processes import free_port
from tests.support.programs import prepared, run_python
from tests.support.servers import PASSWORD, mysql, postgresql, redis_server
from webui import servers

SECRET = "wX7-nobody-may-read-this"
Database = Callable[[], AbstractContextManager[str]]


def test_a_url_becomes_django_settings() -> None:
    found = servers.database_settings("postgresql://hark:a%20b%2Fc@db.example.org:5433/portal?sslmode=require")
    assert (found["NAME"], found["USER"], found["PASSWORD"]) == ("portal", "hark", "a b/c")
    assert (found["HOST"], found["PORT"]) == ("db.example.org", "5433")
    assert found["OPTIONS"]["sslmode"] == "require" and found["OPTIONS"]["connect_timeout"] == servers.CONNECT_S
    for scheme in ("mysql", "mariadb"):
        found = servers.database_settings(f"{scheme}://hark:a%20b%2Fc@db.example.org/portal?ssl_ca=/ca.pem")
        assert (found["NAME"], found["USER"], found["PASSWORD"]) == ("portal", "hark", "a b/c")
        assert (found["ENGINE"], found["HOST"], found["PORT"]) == ("django.db.backends.mysql", "db.example.org", "3306")
        options = found["OPTIONS"]
        assert options["ssl_ca"] == "/ca.pem" and options["ssl_verify_identity"] and options["charset"] == "utf8mb4"


@pytest.mark.parametrize(
    "url",
    [
        f"oracle://hark:{SECRET}@db/hark",
        f"hark:{SECRET}@db/hark",
        f"postgresql://hark:{SECRET}@db",  # no database
        f"postgresql://hark:{SECRET}%zz@db/hark",
        f"postgresql://hark:{SECRET}@db:5432/hark?nosuchoption={SECRET}",
        f"mysql://hark:{SECRET}@db",
        f"mysql://hark:{SECRET}@db:port/hark",
        f"mysql://hark:{SECRET}@db/hark?nosuchoption={SECRET}",
    ],
)
def test_an_invalid_database_url_is_rejected_without_its_password(url: str) -> None:
    with pytest.raises(HarkError, match="DATABASE_URL cannot be used") as caught:
        servers.database_settings(url)
    expected = "mysql://NAME" if url.startswith("mysql") else "postgresql://NAME"
    assert SECRET not in str(caught.value) and expected in caught.value.what_to_do
    assert caught.value.__cause__ is None, "the driver's error would contain the password"


@pytest.mark.parametrize("url", [f"http://:{SECRET}@cache", f":{SECRET}@cache:6379", f"redis://:{SECRET}@cache:port/0"])
def test_an_invalid_redis_url_is_rejected_without_its_password(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    with pytest.raises(HarkError, match="REDIS_URL cannot be used") as caught:
        servers.uses_redis()
    assert SECRET not in str(caught.value) and caught.value.__cause__ is None


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("REDIS_URL", "redis://cache")
    with pytest.raises(HarkError, match="psycopg is not installed"):
        servers.database_settings("postgresql://hark@db/hark")
    with pytest.raises(HarkError, match="pymysql is not installed"):
        servers.database_settings("mysql://hark@db/hark")
    with pytest.raises(HarkError, match="redis is not installed"):
        servers.uses_redis()


@pytest.mark.parametrize(
    ("name", "scheme"), [("DATABASE_URL", "postgresql"), ("DATABASE_URL", "mysql"), ("REDIS_URL", "redis")]
)
def test_an_unreachable_server_is_reported(tmp_path: Path, name: str, scheme: str) -> None:
    said = prepared(tmp_path, **{name: f"{scheme}://hark:{SECRET}@127.0.0.1:{free_port()}/0"})
    assert "no connection to" in said and name in said and SECRET not in said and "Traceback" not in said


SAYS = """
import os; os.environ["DJANGO_SETTINGS_MODULE"] = "webui.settings"
from webui.setup import ready; ready()
from webui.accounts.models import User
from webui.accounts.sign_in import SignInRefused, sign_in
from webui.recordings.models import Passage, Recording
from webui.recordings.reading.search import find, index
from webui.jobs.models import Job
from pipeline.recordings.transcripts.transcript import Segment, Transcript
user = User.objects.create_user("olivia", "olivia@example.org", "x")
for name in ("nobody", "no\\0body"):
    try: sign_in(name=name, password="wrong", address="192.0.2.1")
    except SignInRefused: print("refused")
spec = {"said": "a\\0b", "half": "\\ud800!", "whole": "\U0001f600", "typed": "\\\\u0000"}
job = Job.objects.create(user=user, kind="plan", queue="general", title="a\\0b", spec=spec)
job.refresh_from_db()
print(ascii(job.title), ascii(dict(sorted(job.spec.items()))))
recording = Recording.objects.create(user=user, name="r", folder="r")
said = ["The Café opens at 9", "A lantern, and it's a 'map'", "lanterns\\0 <b>"]
segments = [Segment(float(n), n + 1.0, text, 0.9, (), "en") for n, text in enumerate(said)]
index(recording, Transcript(3.0, "en", "scripted", tuple(segments)))
asked = ((True, "cafe"), (True, "lant"), (True, "and it s"), (False, "map", "OPENS"), (True, "'"))
for every, *words in asked:
    hits = find(user, words, recording=recording, limit=5, every=every)
    print(sorted(hit.number for hit in hits), sorted(hit.marked for hit in hits)[:1])
"""
SAID = """refused
refused
'a\\ufffdb' {'half': '\\ufffd!', 'said': 'a\\ufffdb', 'typed': '\\\\u0000', 'whole': '\\U0001f600'}
[0] ['The <mark>Café</mark> opens at 9']
[1, 2] ['<mark>lanterns</mark> &lt;b&gt;']
[1] ['A lantern, <mark>and it&#x27;s</mark> a &#x27;map&#x27;']
[0, 1] ["A lantern, and it&#x27;s a &#x27;<mark>map</mark>&#x27;"]
[] []
"""


DATABASES = pytest.mark.parametrize("database", [postgresql, mysql])


@pytest.mark.topology
@DATABASES
def test_a_database_server_stores_any_text_and_finds_words(tmp_path: Path, database: Database) -> None:
    with database() as url:
        done = run_python(SAYS, HARK_DATA=str(tmp_path / "data"), DATABASE_URL=url)
    said = SAID if database is postgresql else SAID.replace("'a\\ufffdb' {", "'a\\x00b' {")  # MariaDB takes it as it is
    assert done.stdout.replace('"', "'") == said.replace('"', "'"), done.stderr


AT_ONCE = """
from webui.setup import ready; ready()
from django.db import connection
from tests.support.racing import race
from webui.accounts.models import User
from webui.jobs import services
from webui.jobs.models import Job
user = User.objects.create_user("olivia", "olivia@example.org", "x")
connection.close()
for number in range(5):
    submit = lambda racer: services.submit(user=user, kind="plan", title="p", spec={"phrase": number}).id
    assert race(submit)
    connection.close()
print("jobs:", Job.objects.count())
"""


@pytest.mark.topology
@DATABASES
def test_simultaneous_requests_create_one_job(tmp_path: Path, database: Database) -> None:
    with database() as url:
        done = run_python(AT_ONCE, HARK_DATA=str(tmp_path / "data"), DATABASE_URL=url)
    assert "jobs: 5" in done.stdout, done.stdout + done.stderr


@pytest.mark.topology
@DATABASES
def test_setup_works_on_both_servers_and_reports_a_wrong_password(tmp_path: Path, database: Database) -> None:
    with database() as url, redis_server(tmp_path / "redis") as redis:
        data = tmp_path / "data"
        assert prepared(data, DATABASE_URL=url, REDIS_URL=redis) == "ready\n"
        assert not (data / "portal" / "portal.sqlite3").exists()
        quoted = PASSWORD.replace(" ", "%20")
        for name, of_server in (("DATABASE_URL", url), ("REDIS_URL", redis)):
            said = prepared(data, **{name: of_server.replace(quoted, SECRET)})
            assert "no connection to" in said and "password" in said and SECRET not in said


UNIQUE = """
from webui.setup import ready; ready()
from django.db import connection
from core.errors import HarkError
from tests.support.racing import race
from webui.accounts.models import User
from webui.accounts.services import create_user
from webui.jobs.models import Quota
from webui.jobs.quota import Limits, set_quota
from webui.organization_management import services
from webui.organizations.models import Organization
def made(make, *values, **fields):
    try:
        make(*values, **fields)
    except HarkError:
        return False
    return True
def add(name, email="", password=None):
    return made(create_user, username=name, email=email, password=password)
print([add("olivia", "olivia@example.org", "a-good-long-password"), *map(add, ("Olivia", "oscar", "Oskar")),
    add("olga", "OLIVIA@example.org")])
user = User.objects.get(is_owner=True)
print([made(services.create, user=user, name=name) for name in ("Harbour", "HARBOUR", "Harbor")])
harbour = Organization.objects.get(name="Harbour")
print(made(services.rename, organization=harbour, name="harbor"))
services.rename(organization=harbour, name="HARBOUR")
print([name for name in Organization.objects.values_list("name", flat=True) if name.lower() == "harbour"])
print(User.objects.filter(username__iexact="OSCAR").count(), User.objects.filter(username__iexact="o_car").count())
connection.close()
def racing(number):
    return [add(f"oona-{number}", "oona@example.org"), add("otto"),
        made(services.create, user=user, name="Lighthouse"), made(set_quota, None, Limits(1, 2, 3))]
assert race(racing)
print(User.objects.count(), Organization.objects.count(), Quota.objects.count())
"""


@pytest.mark.topology
@DATABASES
def test_unique_constraints_hold_on_servers(tmp_path: Path, database: Database) -> None:
    with database() as url:
        done = run_python(UNIQUE, HARK_DATA=str(tmp_path / "data"), DATABASE_URL=url)
    names, organizations = [True, False, True, True, False], [True, False, True]
    said = f"{names}\n{organizations}\nFalse\n['HARBOUR']\n1 0\n"
    assert done.stdout.startswith(said), done.stdout + done.stderr
    *raced, counts = done.stdout.removeprefix(said).splitlines()
    assert len(raced) == 4 and counts == "5 3 1", done.stdout + done.stderr
