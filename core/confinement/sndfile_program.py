"""A program that opens an untrusted file by libsndfile in a process of its own, where ffmpeg is not installed.

``python -I sndfile_program.py decode FILE START SECONDS`` writes audio in Sun's AU format, for
``core.confinement.decoding``; ``info FILE START SECONDS`` writes JSON. SECONDS may be null.
"""

from __future__ import annotations

import json
import struct
import sys

import soundfile

BLOCK_VALUES = 1 << 20  # samples times channels per block, whatever the header claims
UNKNOWN = 0xFFFFFFFF  # length in a header that is written before the audio


def main() -> int:
    """Run the program; return 1, with the reason on stderr, if the file cannot be read to its end."""
    what, path, start_s, seconds = *sys.argv[1:4], json.loads(sys.argv[4])
    try:
        with soundfile.SoundFile(path) as source:
            if what == "info":
                sys.stdout.write(json.dumps([source.frames / source.samplerate, source.samplerate, source.channels]))
            else:
                _decode(source, float(start_s), seconds)
    except (soundfile.LibsndfileError, ArithmeticError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _decode(source: soundfile.SoundFile, start_s: float, seconds: float | None) -> None:
    source.seek(min(round(start_s * source.samplerate), source.frames))
    left = source.frames if seconds is None else round(seconds * source.samplerate)
    out = sys.stdout.buffer
    float32, header_bytes = 6, 24
    out.write(struct.pack(">4s5I", b".snd", header_bytes, UNKNOWN, float32, source.samplerate, source.channels))
    frames = max(1, BLOCK_VALUES // source.channels)
    while left > 0 and len(block := source.read(min(frames, left), dtype="float32", always_2d=True)):
        left -= len(block)
        out.write(block.astype(">f4").tobytes())


if __name__ == "__main__":
    sys.exit(main())
