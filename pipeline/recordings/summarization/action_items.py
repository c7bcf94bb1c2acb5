"""Action items, found by typical phrases in English and German."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pipeline.recordings.summarization.sentences import Sentence
from pipeline.recordings.summarization.summary import Point

MAX_ITEMS = 20
MIN_WORDS, MAX_WORDS = 3, 60

_DOING = (
    "send|write|call|ask|book|order|fix|check|update|schedule|review|finish|draft|organi[sz]e|prepare|set|look|find|"
    "get|make|test|share|talk|follow|bring|move|add|create|deliver|arrange|contact|email|mail|meet|plan|submit|upload|"
    "confirm|pay|buy|clean|remove|decide|start|put|take|try|do|give|run|report|sign|ship|invite|handle|complete"
)
_DAY = (
    "monday|tuesday|wednesday|thursday|friday|saturday|sunday|tomorrow|tonight|noon|next (?:week|month)|"
    "(?:the )?end of (?:the |this |next )?(?:day|week|month|quarter|year)|january|february|march|april|june|july|"
    "august|september|october|november|december"
)
_GERMAN_DAY = (
    "montag|dienstag|mittwoch|donnerstag|freitag|samstag|sonntag|morgen|übermorgen|heute abend|nächste\\w* (?:woche|"
    "monat)|(?:zum )?ende (?:der|des|dieser|nächster) (?:woche|monats|jahres)|januar|februar|märz|april|juni|juli|"
    "august|september|oktober|november|dezember"
)
_BETWEEN = r"(?:(?:also|then|just|probably|really|definitely|quickly|first|now|still) )?"

_WANTED = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"\b(?:action (?:item|point)s?|to-?dos?|next steps?)\b",
        rf"\b(?:i|we)(?:['’]ll| will| shall|['’]m going to|['’]re going to| am going to| are going to) {_BETWEEN}"
        rf"(?:{_DOING})\b",
        rf"\b(?:i|we|you|he|she|they|[a-z]+) (?:need|needs|have|has|ought) to {_BETWEEN}(?:{_DOING})\b",
        rf"\b(?:i|we|you) (?:should|must) {_BETWEEN}(?:{_DOING})\b",
        rf"\b(?:let['’]?s|let us) {_BETWEEN}(?:{_DOING})\b",
        rf"\b(?:can|could|would|will) (?:you|somebody|someone) (?:please )?{_BETWEEN}(?:{_DOING})\b",
        rf"\b(?:please|remember to|don['’]t forget to|make sure (?:to|that|you|we)) {_BETWEEN}(?:\w+ )?(?:{_DOING})\b",
        rf"\b[a-z]+ (?:will|['’]ll|is going to) {_BETWEEN}(?:{_DOING})\b.*\b(?:by|on|before|until) (?:{_DAY})\b",
        rf"\b(?:by|until|before) (?:{_DAY})\b",
        r"\b(?:aufgaben?|nächste schritte|zu erledigen|bitte denk\w*)\b",
        r"\b(?:ich werde|wir werden|ich muss|wir müssen|du musst|ihr müsst|sie müssen|wir sollten|ich sollte|"
        r"du solltest|ihr solltet|sie sollten)\b(?=.*\w{2,}(?:en|ern|eln)\b)",
        r"\b(?:kannst du|könntest du|könnt ihr|können sie|könnten sie|würdest du)\b(?=.*\b(?:bitte|mal|bis)\b)",
        r"\b(?:lass|lasst) uns\b(?=.*\w{2,}(?:en|ern|eln)\b)",
        rf"\bbis (?:zum |spätestens )?(?:{_GERMAN_DAY})\b",
    )
)
# False positives: idioms, past tense, and questions about the past.
_UNWANTED = re.compile(
    r"\b(?:i (?:have|need|must) to (?:say|admit|confess|go)|have to do with|has to do with|we['’]ll see|"
    r"(?:never|not) (?:have|need|going) to|don['’]t (?:have|need) to|doesn['’]t (?:have|need) to|"
    r"if (?:i|we) (?:have|need) to|had to|"
    r"nicht müssen|keine aufgabe|musste|mussten)\b",
    re.IGNORECASE,
)


def action_items(sentences: Sequence[Sentence]) -> tuple[Point, ...]:
    """Return sentences in which a person will, shall or must do something, in order, at most :data:`MAX_ITEMS`."""
    items: dict[str, Point] = {}
    for sentence in sentences:
        length = len(sentence.words)
        if not MIN_WORDS <= length <= MAX_WORDS or _UNWANTED.search(sentence.text):
            continue
        if any(pattern.search(sentence.text) for pattern in _WANTED):
            items.setdefault(sentence.text.lower(), Point(sentence.text, sentence.segments))
    return tuple(list(items.values())[:MAX_ITEMS])
