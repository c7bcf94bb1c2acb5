"""The full-text index of transcripts (webui/recordings/reading/search.py).

Triggers keep SQLite's FTS5 in step with the table of passages. A later migration that changes that table rebuilds it on
SQLite and loses the triggers, so it must run MAKE's again. On PostgreSQL, MariaDB and MySQL the words are in a column
that no model has.
"""

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
    "ALTER TABLE audio_passage ADD COLUMN words text",
    "CREATE INDEX audio_passage_words ON audio_passage USING gin ((words::tsvector))",
)
TAKE_AWAY["postgresql"] = ("ALTER TABLE audio_passage DROP COLUMN words",)
MAKE["mysql"] = ("ALTER TABLE audio_passage ADD COLUMN words LONGTEXT",)
TAKE_AWAY["mysql"] = TAKE_AWAY["postgresql"]


def run(statements: Mapping[str, Sequence[str]]) -> Callable[[Any, Any], None]:
    """Make an operation that executes the statements for the present database."""

    def do(apps: Any, schema_editor: Any) -> None:
        for statement in statements[schema_editor.connection.vendor]:
            schema_editor.execute(statement, params=None)

    return do


class Migration(migrations.Migration):
    dependencies = [("audio", "0001_initial")]
    operations = [migrations.RunPython(run(MAKE), run(TAKE_AWAY), atomic=False)]
