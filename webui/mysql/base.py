"""Django's backend with PyMySQL, and with what SQLite and PostgreSQL have: unique constraints with a condition or of an
expression, texts compared by their letters and ``iexact`` without case, JSON of strangers."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import pymysql

pymysql.install_as_MySQLdb()
# Of its modules, too: a second copy of one would have exceptions of its own, which nobody catches.
for name in [name for name in sys.modules if name.startswith("pymysql.")]:
    sys.modules[f"MySQLdb.{name.removeprefix('pymysql.')}"] = sys.modules[name]

from django.db.backends.ddl_references import Expressions, Statement, Table
from django.db.backends.mysql import base, operations, schema
from django.db.models.sql import Query

from core.database_url import as_servers_take_it

WITHOUT_CASE = {"iexact", "icontains", "istartswith", "iendswith"}


class DatabaseOperations(operations.DatabaseOperations):
    """Texts are in order of their bytes, so what is compared without case is made small."""

    def lookup_cast(self, lookup_type: str, internal_type: str | None = None) -> str:
        """Around the column."""
        if lookup_type in WITHOUT_CASE and internal_type != "JSONField":
            return "LOWER(%s)"
        return str(super().lookup_cast(lookup_type, internal_type))

    def adapt_json_value(self, value: Any, encoder: Any) -> str:
        """Half surrogates, which strangers may send, are no failure, as on SQLite."""
        return as_servers_take_it(super().adapt_json_value(value, encoder))


class DatabaseSchemaEditor(schema.DatabaseSchemaEditor):
    """A unique constraint with a condition, or of an expression, has a column of its name which the server computes:
    NULL, which is like no other, where the condition does not hold. It is stored: where an index has what is computed
    when it is read, purging may end the server (MDEV-39261)."""

    sql_create_computed_unique = (
        "ALTER TABLE %(table)s ADD COLUMN %(name)s %(type)s GENERATED ALWAYS AS (%(value)s) STORED,"
        " ADD UNIQUE INDEX %(name)s (%(columns)s)"
    )
    sql_delete_computed_unique = "ALTER TABLE %(table)s DROP INDEX %(name)s, DROP COLUMN %(name)s"

    def _unique_supported(self, condition: Any = None, *others: Any, **more: Any) -> bool:
        return bool(super()._unique_supported(None, *others, **{**more, "expressions": None}))  # type: ignore[misc]

    def _create_unique_sql(
        self, model: Any, fields: Sequence[Any], name: Any = None, condition: str | None = None, **more: Any
    ) -> Any:
        expressions = more.get("expressions")
        if not condition and not expressions:
            return super()._create_unique_sql(model, fields, name, condition, **more)  # type: ignore[misc]
        table, kind = model._meta.db_table, "bool"
        value: Any = "TRUE"
        if expressions:
            (expression,) = expressions.get_source_expressions()
            kind = expression.output_field.db_type(self.connection)
            compiler = Query(model, alias_cols=False).get_compiler(connection=self.connection)
            value = Expressions(table, expressions, compiler, self.quote_value)
        if condition:
            value = f"CASE WHEN {condition} THEN {value} END"
        quoted = self.quote_name(name)
        columns = ", ".join([*(self.quote_name(field.column) for field in fields), quoted])
        of_table = Table(table, self.quote_name)
        return Statement(
            self.sql_create_computed_unique, table=of_table, name=quoted, type=kind, value=value, columns=columns
        )

    def _delete_unique_sql(self, model: Any, name: str, condition: str | None = None, **more: Any) -> Any:
        if condition or more.get("expressions"):
            return self._delete_constraint_sql(self.sql_delete_computed_unique, model, name)  # type: ignore[attr-defined]
        return super()._delete_unique_sql(model, name, condition, **more)  # type: ignore[misc]


class DatabaseWrapper(base.DatabaseWrapper):
    """The backend."""

    ops_class = DatabaseOperations
    SchemaEditorClass = DatabaseSchemaEditor
    operators = {**base.DatabaseWrapper.operators, **dict.fromkeys(WITHOUT_CASE, "LIKE LOWER(%s)")}  # noqa: RUF012
