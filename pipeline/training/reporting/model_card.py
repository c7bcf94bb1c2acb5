"""The model card of a bundle."""

from __future__ import annotations

from pathlib import Path

from pipeline.training.reporting.report_types import Report


def model_card(report: Report) -> str:
    """Return the card in Markdown: what it is, how to use it, how it was measured, its limits."""
    from jinja2 import Template

    template = Path(__file__).with_name("model_card.md").read_text(encoding="utf-8")
    return Template(template, trim_blocks=True, keep_trailing_newline=True).render(
        report=report,
        sizes=", ".join(f"{name} {size / 1000:.0f} kB" for name, size in report["bytes"].items()),
        differences=", ".join(f"{name.replace('_', ' ')} {value:.1e}" for name, value in report["parity"].items()),
        encoder=report.get("backbone", {}).get("encoder"),
    )
