"""Inference with a trained summarizer, and the format of its file."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import asdict
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.data_folder import atomic_path
from core.errors import HarkError
from model.summarizer.network import END, PAD, START, UNKNOWN, Summarizer, SummarizerConfig

BATCH = 16  # texts per batch
KIND = "Summarizer"


def save_summarizer(path: Path, model: Summarizer, extra: dict[str, Any] | None = None) -> None:
    """Write a summarizer as a file that loads with ``weights_only=True``, atomically. Raises OSError if that fails."""
    weights = {name: value.detach().cpu() for name, value in model.state_dict().items()}
    with atomic_path(path) as temporary:
        torch.save({"kind": KIND, "config": asdict(model.config), "weights": weights, **(extra or {})}, temporary)


def load_summarizer(path: Path, device: str = "cpu") -> Summarizer:
    """Load a model of :func:`save_summarizer` for evaluation. Raises HarkError if the file is missing or damaged."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        if content["kind"] != KIND:
            raise ValueError(f"it contains a {content['kind']}")
        model = Summarizer(SummarizerConfig(**content["config"]))
        model.load_state_dict(content["weights"])
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
        raise HarkError(
            "The summarizer cannot be loaded.",
            f"{path}: {str(error).splitlines()[0][:200] if str(error) else type(error).__name__}.",
            "Train it again (./hark summarizer train PAIRS), or copy the file again.",
        ) from error
    return model.eval().to(device)


def padded(rows: list[list[int]], device: str = "cpu") -> Tensor:
    longest = max(1, *map(len, rows))
    return torch.tensor([row + [PAD] * (longest - len(row)) for row in rows], device=device)


@torch.inference_mode()
def summarize(model: Summarizer, texts: list[str]) -> list[str]:
    """Write a summary of each text, greedily. The model must be in evaluation mode."""
    config = model.config
    device = str(next(model.parameters()).device)
    summaries: list[str] = []
    for start in range(0, len(texts), BATCH):
        rows = [config.encode(text, config.longest_text) or [UNKNOWN] for text in texts[start : start + BATCH]]
        text = padded(rows, device)
        memory = model.read(text)
        summary = torch.full((len(rows), 1), START, device=device)
        ended = torch.zeros(len(rows), dtype=torch.bool, device=device)
        for _ in range(config.longest_summary):
            logits = model.write(summary, memory, text)[:, -1]
            logits[:, [PAD, START, UNKNOWN]] = -torch.inf
            following = torch.where(ended, END, logits.argmax(-1))
            summary = torch.cat([summary, following[:, None]], dim=1)
            ended |= following == END
            if bool(ended.all()):
                break
        summaries += [config.decode(row) for row in summary[:, 1:].tolist()]
    return summaries


@lru_cache(maxsize=1)
def open_summarizer(path: str, changed_ns: int) -> Callable[[list[str]], list[str]]:
    """Return the summarizer in a file as a function of texts, cached until ``changed_ns``, the file's time, changes."""
    return partial(summarize, load_summarizer(Path(path)))
