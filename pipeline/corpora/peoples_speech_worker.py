"""The process that reads The People's Speech with the package ``datasets``, several rows at a time.

A request's ``path`` is a folder, whose ``rows.json`` lists the rows. Their encoded audio is next to it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from core.worker_protocol import Speak, Unavailable, serve

ROWS = 32  # rows per answer


def set_up() -> tuple[dict[str, Any], Speak]:
    try:
        import datasets
    except Exception as error:
        raise Unavailable(f"datasets cannot be imported: {error}") from error
    rows = _rows(datasets, json.loads(sys.argv[1]))

    def read(request: dict[str, Any]) -> None:
        """Write the next rows; an empty list at the end."""
        folder, facts = Path(request["path"]), []
        for number, row in enumerate(islice(rows, ROWS)):
            encoded = (row.get("audio") or {}).get("bytes")
            if encoded:
                (folder / str(number)).write_bytes(encoded)
            facts.append({name: str(row[name]) for name in ("id", "text", "licence", "license") if row.get(name)})
        (folder / "rows.json").write_text(json.dumps(facts), encoding="utf-8")

    return {}, read


def _rows(datasets: Any, source: dict[str, Any]) -> Iterator[dict[str, Any]]:
    more = {"split": "train", "streaming": True, "cache_dir": source["cache"]}
    if source["files"]:
        stream = datasets.load_dataset("parquet", data_files=source["files"], **more)
    else:
        stream = datasets.load_dataset(source["location"], source["configuration"], **more)
    if isinstance((stream.features or {}).get("audio"), datasets.Audio):
        # Undecoded bytes, because decoding by datasets requires torchcodec, which requires a matching ffmpeg.
        stream = stream.cast_column("audio", datasets.Audio(decode=False))
    yield from stream


if __name__ == "__main__":
    serve(set_up)
