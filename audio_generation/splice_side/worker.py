"""The process that selects and joins units. It runs in Hark's own interpreter and requires no other packages."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from core.worker_protocol import Refused, serve


def set_up() -> tuple[dict[str, Any], Any]:
    from audio_generation.splice_side.inventory import Inventory
    from audio_generation.splice_side.selection import NotSpeakable
    from audio_generation.splice_side.speaking import speak, write_clip
    from core.errors import HarkError

    inventory = Inventory(*map(Path, sys.argv[1:]))

    def answer(request: dict[str, Any]) -> None:
        person = inventory.person(request["voice"])
        if person is None:
            raise Refused(f"splice has no voice {request['voice']}")
        try:
            table = inventory.table(person.name)
            spoken = speak(table, request["text"], person.language, request["settings"])
        except (NotSpeakable, ValueError) as reason:
            raise Refused(str(reason)) from reason
        except HarkError as error:
            raise Refused(f"{error.what} {error.why}") from error
        write_clip(Path(request["path"]), spoken)

    return {}, answer


if __name__ == "__main__":
    serve(set_up)
