"""ElevenLabs as an engine, with a character limit that persists across runs."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from audio_generation.engine import Engine, Setting, SpeechRequest, Voice, speaks
from core.data_folder import installation_folder
from core.errors import HarkError
from core.readiness import Readiness
from core.settings.file import values_of
from core.worded import worded

KEY = "ELEVENLABS_API_KEY"
LIMIT = "ELEVENLABS_CHARACTER_LIMIT"
ADDRESS = "ELEVENLABS_BASE_URL"
DEFAULT_LIMIT = 10_000  # characters in total; the free plan's monthly allowance
ENV_FILE = Path(__file__).parent / "internals" / ".env"
# The service's labels of English accents; other languages have their codes.
ACCENTS = {"american": "en-us", "british": "en-gb", "australian": "en-au", "irish": "en-ie", "indian": "en-in"}


class ElevenLabs(Engine):
    """The paid engine ElevenLabs, over its HTTP API.

    Its key, limit and URL come from the environment or from ``internals/.env`` (lines of ``NAME=value``).
    """

    name = "elevenlabs"
    about = worded("A paid service with natural voices. The texts leave this machine.")
    licence = "proprietary service"
    clip_s = 1.5
    paid = True
    by_default = False
    packages = ("elevenlabs",)
    loads_weights = True  # starting it requires the network
    requests_ahead = 1  # low, because each request that is sent ahead is paid for even if it is not used
    request_timeout_s = 90.0

    def missing(self) -> Readiness | None:
        """Require a key, and characters left in the limit."""
        if not _configured(KEY):
            return Readiness(
                False,
                worded("The key for ElevenLabs is missing."),
                worded("Add %(key)s=... to %(file)s.", key=KEY, file=str(ENV_FILE)),
            )
        if self.characters_left() <= 0:
            return Readiness(
                False,
                worded("The limit of %(n)d characters is used up.", n=self.limit()),
                worded(
                    "Raise %(limit)s in %(file)s, or empty %(spent)s.",
                    limit=LIMIT,
                    file=str(ENV_FILE),
                    spent=str(self._spent_file()),
                ),
            )
        return None

    def worker_environment(self) -> Mapping[str, str]:
        return {name: value for name in (KEY, ADDRESS) if (value := _configured(name))}

    def find_voices(self, language: str) -> list[Voice]:
        """Return the account's voices, which all speak every language; voices made for this language come first."""
        facts = self.facts()
        voices = []
        for identifier, name, spoken, accent in facts["voices"]:
            own = ACCENTS.get(accent, "en") if spoken in ("en", "") else spoken
            fits = speaks(own, language)
            voices.append(
                (
                    not fits,
                    Voice(
                        engine=self.name,
                        name=identifier,
                        language=own if fits else language,
                        speaker=f"elevenlabs-{name}",
                        licence="ElevenLabs terms of service",
                        model=facts["model"],
                    ),
                )
            )
        return [voice for _, voice in sorted(voices, key=lambda pair: pair[0])]

    def draw_settings(self, voice: Voice, rng: np.random.Generator) -> dict[str, Setting]:
        """Draw the service's settings: values from 0 to 1, a speed around 1, and a seed."""
        return {
            "stability": round(float(rng.uniform(0.3, 0.8)), 2),
            "similarity_boost": round(float(rng.uniform(0.5, 0.9)), 2),
            "style": round(float(rng.uniform(0.0, 0.4)), 2),
            "speed": round(float(rng.uniform(0.8, 1.15)), 2),
            "seed": int(rng.integers(1 << 31)),
        }

    def limit(self) -> int:
        try:
            return int(_configured(LIMIT) or DEFAULT_LIMIT)
        except ValueError:
            return 0  # an unreadable limit permits nothing

    def characters_left(self) -> int:
        try:
            return self.limit() - int(self._spent_file().read_text())
        except FileNotFoundError:
            return self.limit()
        except ValueError:
            return 0  # the number of spent characters is unknown

    def refusal(self, request: SpeechRequest) -> str:
        """Refuse a request beyond the limit; otherwise count its characters now, so that a crash cannot lose them."""
        path = self._spent_file()
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            left = self.characters_left()
            if len(request.text) > left:
                return f"elevenlabs: {left} of {self.limit()} characters are left, this text has {len(request.text)}"
            path.write_text(str(self.limit() - left + len(request.text)))
        return ""

    @staticmethod
    def _spent_file() -> Path:
        return installation_folder() / "engines" / "elevenlabs" / "characters-spent.txt"


def _configured(name: str) -> str:
    """Return a variable from the environment, otherwise from ``internals/.env``; "" if neither has it."""
    if os.environ.get(name):
        return os.environ[name]
    try:
        return values_of(ENV_FILE).get(name, "")
    except HarkError:  # the file does not exist or cannot be read
        return ""
