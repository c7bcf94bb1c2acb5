"""Makes Django and its database ready, for the commands that need them outside of ``manage.py``."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from pathlib import Path

from core.data_folder import keep_private, storage_error
from core.errors import HarkError


def ready() -> None:
    """Load Django and bring its database up to date. Several processes may call this at once, and each again.

    Raises:
        HarkError: the data folder or the database cannot be used.
    """
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webui.settings")
    import django

    django.setup()

    from django.conf import settings
    from django.db import DatabaseError, connection

    database = Path(str(settings.DATABASES["default"]["NAME"]))
    try:
        keep_private(Path(settings.DATA))
        str(settings.SECRET_KEY)  # read, or made, before anything is started that needs it
        database.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(database, os.O_RDWR | os.O_CREAT, 0o600))  # it holds sessions: for its owner only
        with database.with_name("setup.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            _migrate()
    except OSError as error:
        raise storage_error(error, "preparing the portal's database") from error
    except (DatabaseError, sqlite3.Error) as error:
        raise HarkError(
            "The portal's database cannot be used.",
            f"{error}: {database}.",
            "Check the disk and who owns the file; if it is damaged, stop Hark and put back a copy of the data folder.",
        ) from error
    finally:
        connection.close()


def _migrate() -> None:
    from django.core.management import call_command
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        call_command("migrate", verbosity=0, interactive=False)
