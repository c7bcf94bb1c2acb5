"""The full-text index of what was said (webui/audio/search.py).

SQLite's FTS5 follows the table of passages by triggers. A later migration that changes that table makes it anew there,
and loses the triggers: it must run MAKE's again. PostgreSQL, MariaDB and MySQL have the words in a column that no model
has."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.db import migrations

MAKE: dict[str, tuple[str, ...]] = {}
TAKE_AWAY: dict[str, tuple[str, ...]] = {}
MAKE["sqlite"] = (
    "CREATE VIRTUAL TABLE audio_passage_words USING fts5(text, content='audio_passage', content_rowid='id',"
    " tokenize='unicode61 remove_diacritics 2')",
    "CREATE TRIGGER audio_passage_added AFTER INSERT ON audio_passage BEGIN"
    " INSERT INTO audio_passage_words(rowid, text) VALUES (new.id, new.text); END",
    "CREATE TRIGGER audio_passage_removed AFTER DELETE ON audio_passage BEGIN"
    " INSERT INTO audio_passage_words(audio_passage_words, rowid, text) VALUES ('delete', old.id, old.text); END",
    "CREATE TRIGGER audio_passage_changed AFTER UPDATE OF text ON audio_passage BEGIN"
    " INSERT INTO audio_passage_words(audio_passage_words, rowid, text) VALUES ('delete', old.id, old.text);"
    " INSERT INTO audio_passage_words(rowid, text) VALUES (new.id, new.text); END",
)
TAKE_AWAY["sqlite"] = (
    "DROP TRIGGER audio_passage_added",
    "DROP TRIGGER audio_passage_removed",
    "DROP TRIGGER audio_passage_changed",
    "DROP TABLE audio_passage_words",
)
MAKE["postgresql"] = (
    "ALTER TABLE audio_passage ADD COLUMN words tsvector",
    "CREATE INDEX audio_passage_words ON audio_passage USING gin (words)",
)
TAKE_AWAY["postgresql"] = ("ALTER TABLE audio_passage DROP COLUMN words",)
MAKE["mysql"] = ("ALTER TABLE audio_passage ADD COLUMN words LONGTEXT",)
TAKE_AWAY["mysql"] = TAKE_AWAY["postgresql"]


def run(statements: Mapping[str, Sequence[str]]) -> Callable[[Any, Any], None]:
    """The statements of the database that there is."""

    def do(apps: Any, schema_editor: Any) -> None:
        for statement in statements[schema_editor.connection.vendor]:
            schema_editor.execute(statement, params=None)

    return do


class Migration(migrations.Migration):
    dependencies = [("audio", "0001_initial")]
    operations = [migrations.RunPython(run(MAKE), run(TAKE_AWAY), atomic=False)]
