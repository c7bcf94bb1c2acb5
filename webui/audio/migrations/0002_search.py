"""The full-text index of what was said: SQLite's FTS5 over the table of passages, which it follows by triggers.

A later migration that changes that table makes it anew, and loses the triggers: it must run MAKE's again."""

from collections.abc import Callable, Sequence
from typing import Any

from django.db import migrations

MAKE = (
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
TAKE_AWAY = (
    "DROP TRIGGER audio_passage_added",
    "DROP TRIGGER audio_passage_removed",
    "DROP TRIGGER audio_passage_changed",
    "DROP TABLE audio_passage_words",
)


def run(statements: Sequence[str]) -> Callable[[Any, Any], None]:
    """The statements, where the database is SQLite; others are searched without an index (webui/audio/search.py)."""

    def do(apps: Any, schema_editor: Any) -> None:
        if schema_editor.connection.vendor == "sqlite":
            for statement in statements:
                schema_editor.execute(statement, params=None)

    return do


class Migration(migrations.Migration):
    dependencies = [("audio", "0001_initial")]
    operations = [migrations.RunPython(run(MAKE), run(TAKE_AWAY))]
