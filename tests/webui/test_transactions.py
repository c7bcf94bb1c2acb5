"""Transactions that read and then write run one at a time, on any database."""

from __future__ import annotations

import pytest
from django.db import connection, transaction

from core.data_folder import REPOSITORY
from webui.transactions import serialized


def test_a_failure_in_a_transaction_is_rolled_back(transactional_db: None) -> None:
    from webui.jobs.heartbeat import beat
    from webui.jobs.models import Heartbeat

    with pytest.raises(ZeroDivisionError), serialized():
        beat("general")
        raise ZeroDivisionError
    assert not Heartbeat.objects.exists() and transaction.get_autocommit()
    with serialized(), serialized():
        assert connection.in_atomic_block
        beat("general")
    assert Heartbeat.objects.count() == 1


def test_only_listed_modules_call_transaction_atomic() -> None:
    opened = {
        str(path.relative_to(REPOSITORY)): path.read_text().count("transaction.atomic(")
        for path in (REPOSITORY / "webui").rglob("*.py")
    }
    expected = {"webui/transactions.py": 1, "webui/jobs/services.py": 1, "webui/moving.py": 3}  # other databases
    assert {name: n for name, n in opened.items() if n} == expected
