"""Views, routes and sockets look up users' things only through ``webui.organizations.access``."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.apps import apps

from core.data_folder import REPOSITORY
from webui.organizations.access import Owned

GUARDED = {model.__name__ for model in apps.get_models() if issubclass(model._default_manager._queryset_class, Owned)}
SCOPES = {"owned_by", "visible_to", "editable_by"}  # methods of a queryset that filter by user
GETTERS = {"owned", "visible", "to_change", "who"}  # who: one of the others, passed as an argument
# Entry points of requests, and code that looks objects up for them.
DOORS = ("views.py", "_views.py", "consumers.py", "navigation.py", "live/sessions.py", "reading/page.py", "asking.py")
FOLDERS = ("api/routes/", "compatibility/")
EXEMPT = {
    "compatibility/meetings.py: Job.objects.filter(state=Job.State.QUEUED)": "counts all that wait",
    "compatibility/atr.py: Job.objects.filter(user=instance.user, kind=KIND, state__in=Job.GOING)": "a handler of "
    "deletions, also of those of an account that is closed",
}


def doors() -> Iterator[tuple[str, str]]:
    """Yield the name and source of each module with views, routes or sockets."""
    portal = REPOSITORY / "webui"
    for path in sorted(portal.rglob("*.py")):
        name = str(path.relative_to(portal))
        if name.endswith(DOORS) or name.startswith(FOLDERS):
            yield name, path.read_text(encoding="utf-8")


def unguarded(source: str) -> list[str]:
    """Return uses of a guarded model's ``objects`` without a restriction to what a user may see."""
    tree = ast.parse(source)
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    found = []
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Attribute) and node.attr == "objects" and isinstance(node.value, ast.Name)):
            continue
        if node.value.id not in GUARDED:
            continue
        outermost, scoped = _chain(node, parents)
        if scoped or _is_given_to_a_getter(outermost, parents) or _is_scoped_later(outermost, parents):
            continue
        found.append(ast.unparse(outermost))
    return found


def _chain(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> tuple[ast.AST, bool]:
    """Return all of ``X.objects.a().b()``, up to the first call that is not a queryset's, and whether it is scoped."""
    scoped = False
    while True:
        attribute = parents[node]
        if not (isinstance(attribute, ast.Attribute) and attribute.value is node):
            return node, scoped
        call = parents[attribute]
        if not (isinstance(call, ast.Call) and call.func is attribute):
            return node, scoped
        if attribute.attr in SCOPES:
            return call, True
        if attribute.attr not in ("filter", "select_related", "prefetch_related", "all", "exclude", "order_by", "get"):
            return node, scoped
        node = call


def _is_given_to_a_getter(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> bool:
    call = parents[node]
    return isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in GETTERS


def _is_scoped_later(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> bool:
    """Return whether ``name = X.objects...`` is used only as ``name.visible_to(...)`` or in a getter."""
    assigned = parents[node]
    if not (isinstance(assigned, ast.Assign) and isinstance(assigned.targets[0], ast.Name)):
        return False
    function: ast.AST = assigned
    while function in parents and not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
        function = parents[function]
    name = assigned.targets[0].id
    uses = [
        each for each in ast.walk(function)
        if isinstance(each, ast.Name) and each.id == name and isinstance(each.ctx, ast.Load)
    ]  # fmt: skip
    return bool(uses) and all(_chain(use, parents)[1] or _is_given_to_a_getter(use, parents) for use in uses)


def test_views_look_objects_up_by_user() -> None:
    found = {f"{name}: {use}" for name, source in doors() for use in unguarded(source)}
    assert found == set(EXEMPT)


def test_the_guard_covers_models_and_views() -> None:
    assert {"Detector", "Version", "Recording", "Passage", "Sample", "Job", "UploadInProgress"} <= GUARDED
    assert len(list(doors())) > 25


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("Job.objects.filter(user=user)", 1),
        ("get_object_or_404(Recording, id=1)", 0),  # without a manager: see below
        ("Recording.objects.visible_to(user).filter(id=1)", 0),
        ("Recording.objects.select_related('user').editable_by(user)", 0),
        ("visible(Job.objects.all(), user, id=1)", 0),
        ("list(Job.objects.all())", 1),
        ("def f():\n    rows = Job.objects.all()\n    return rows.owned_by(user)", 0),
        ("def f():\n    rows = Job.objects.all()\n    return rows[0]", 1),
        ("def f():\n    rows = Job.objects.all()\n    visible(rows, user)\n    return rows", 1),
        ("Organization.objects.all()", 0),
    ],
)
def test_the_guard_finds_unguarded_lookups(source: str, count: int) -> None:
    assert len(unguarded(source)) == count


def test_no_view_passes_a_model_to_djangos_shortcuts() -> None:
    found = [
        f"{name}: {ast.unparse(node)}"
        for name, source in doors()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("get_object_or_404", "get_list_or_404")
        and isinstance(node.args[0], ast.Name)
        and node.args[0].id in GUARDED
    ]
    assert not found, found


def test_raw_sql_filters_by_visible_to() -> None:
    portal = REPOSITORY / "webui"
    files = {path.relative_to(portal): path.read_text(encoding="utf-8") for path in portal.rglob("*.py")}
    raw = {
        str(name)
        for name, source in files.items()
        if ("cursor.execute" in source or "objects.raw(" in source) and "migrations" not in name.parts
    }
    about_the_database = {"moving.py", "watching/observing.py", "setup.py", "transactions.py"}
    who_asks = {"accounts/backend.py"}
    put_together_of_querysets = {"navigation.py"}  # querysets that entry points pass to it
    search = "recordings/reading/search.py"
    assert raw == {search, *about_the_database, *who_asks, *put_together_of_querysets}
    assert files[Path(search)].count("visible_to(user)") == 2  # SQLite's words, and PostgreSQL's
