"""Changes of a transcript and its names, as a page sends them."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_POST

from core.errors import HarkError
from pipeline.recordings.files.media import clean_name
from pipeline.recordings.transcripts.captions import clock
from pipeline.recordings.transcripts.transcript import UNNAMED
from webui.accounts.signed_in import signed_in
from webui.http.parameters import whole_number
from webui.organizations.access import owned, to_change
from webui.recordings.editing import corrections, speaker_changes
from webui.recordings.models import Recording
from webui.recordings.reading import transcripts
from webui.recordings.reading.page import recording_of
from webui.recordings.transcribing import expected_words
from webui.template_filters import speaker_name
from webui.translation import explained

NEW_SPEAKER = "new"  # not the id of a speaker


@require_POST
def segment(request: HttpRequest, recording_id: UUID, number: int) -> JsonResponse:
    """Correct a passage; parameters: ``text`` ("" removes it), its ``start``, and the ``version`` that the user saw.

    Returns ``{"version", "segment": {"text", "words"} or null, "elsewhere": {"heard", "said", "told"} or null}``, the
    latter if other passages have the replaced words too; 409 with ``version`` and ``text`` if the transcript has
    changed.
    """
    recording = recording_of(request, recording_id, to_change)
    try:
        changed, version, old, new, places = corrections.update_segment(
            recording=recording,
            number=number,
            text=request.POST.get("text", ""),
            version=whole_number(request.POST.get("version")),
            start_s=request.POST.get("start", ""),
        )
    except transcripts.Changed as error:
        return JsonResponse({**explained(error), "version": error.version, "text": error.text}, status=409)
    shown = None
    if changed is not None:
        words = [[word.text, word.start_s, word.end_s, word.confidence] for word in changed.words]
        shown = {"text": changed.text, "words": words}
    elsewhere = None
    if places:
        offer = ngettext(
            "“%(heard)s” also occurs in %(n)d other passage. Replace it with “%(said)s” there too?",
            "“%(heard)s” also occurs in %(n)d other passages. Replace it with “%(said)s” there too?",
            places,
        )
        elsewhere = {"heard": old, "said": new, "told": offer % {"heard": old, "said": new, "n": places}}
    return JsonResponse({"version": version, "segment": shown, "elsewhere": elsewhere})


@require_POST
def replace(request: HttpRequest, recording_id: UUID) -> HttpResponse:
    """Replace ``heard`` with ``said``, except in passage ``besides``; ``version`` is the one that the user saw."""
    recording = recording_of(request, recording_id, to_change)
    form = request.POST
    changed = corrections.replace_words(
        recording=recording, old=form.get("heard", ""), new=form.get("said", ""),
        besides=whole_number(form.get("besides")), version=whole_number(form.get("version")),
    )  # fmt: skip
    sentence = ngettext("Replaced in %(n)d passage.", "Replaced in %(n)d passages.", changed) % {"n": changed}
    messages.success(request, sentence, extra_tags="near-said")
    return redirect(reverse("recordings:recording", args=[recording_id]) + "#said")


@require_POST
def speakers(request: HttpRequest, recording_id: UUID) -> HttpResponse:
    """Name speakers; parameters: a ``speaker`` and a ``name`` each, ``version`` that the user saw.

    ``remember`` and ``consent`` list the ids of speakers whose voices are remembered. For JSON, it returns ``{"names",
    "shown", "version"}``: by id, names as stored and as displayed.
    """
    remember = request.POST.getlist("remember")
    recording = recording_of(request, recording_id, owned if remember else to_change)
    given = zip(request.POST.getlist("speaker"), request.POST.getlist("name"), strict=False)
    names = {who: name.strip() for who, name in given}
    agreed = set(request.POST.getlist("consent"))
    if any(who not in agreed or not names.get(who) or UNNAMED.fullmatch(names[who]) for who in remember):
        raise HarkError(
            _("The voice was not remembered."),
            _("That needs a name, and the consent of the person whose voice it is."),
            _("Ask them, then tick both boxes."),
        )
    speaker_changes.name_speakers(recording=recording, names=names, version=whole_number(request.POST.get("version")))
    if request.headers.get("Accept") == "application/json":  # the name was edited in the page
        recording.refresh_from_db(fields=["version"])
        transcript = transcripts.transcript_of(recording)
        stored_names = {who: transcript.speaker_name(who) for who in names}
        shown = {who: speaker_name(name) for who, name in stored_names.items()}
        return JsonResponse({"names": stored_names, "shown": shown, "version": recording.version})
    for who in remember:
        speaker_changes.remember_voice(recording=recording, speaker=who, name=names[who])
        messages.success(
            request,
            _("The name %(name)s will be offered in later recordings that contain this voice.") % {"name": names[who]},
            extra_tags="near-speakers",
        )
    if not remember:
        messages.success(request, _("The names are saved."), extra_tags="near-speakers")
    return redirect(reverse("recordings:recording", args=[recording_id]) + "#who-speaks")


@require_POST
def detect_speakers(request: HttpRequest, recording_id: UUID) -> HttpResponse:
    """Detect the speakers again; ``speakers`` is their number, or empty to estimate it."""
    recording = recording_of(request, recording_id, to_change)
    speaker_changes.detect_speakers_again(recording=recording, speakers=whole_number(request.POST.get("speakers")))
    return redirect(reverse("recordings:recording", args=[recording_id]) + "#who-speaks")


@require_http_methods(["GET", "POST"])
def assign(request: HttpRequest, recording_id: UUID, number: int) -> HttpResponse:
    """Show the form for the speaker of a passage, as a page or a fragment; POST sets it.

    Parameters of POST: ``speaker`` (an id, "", or ``new``), ``start`` of the passage that the user saw, ``where`` (the
    number of a word: from it on; ``all``: in all passages of its speaker; "": in this passage).
    """
    recording = recording_of(request, recording_id, to_change)
    if request.method == "POST":
        who, where = request.POST.get("speaker", ""), request.POST.get("where", "")
        speaker_changes.assign_speaker(
            recording=recording, number=number, speaker=None if who == NEW_SPEAKER else who,
            start_s=request.POST.get("start", ""), from_word=whole_number(where) or 0, all_of_theirs=where == "all",
        )  # fmt: skip
        return redirect(reverse("recordings:recording", args=[recording_id]) + f"#passage-{number}")
    transcript = transcripts.transcript_of(recording)
    if number >= len(transcript.segments):
        raise Http404
    passage = transcript.segments[number]
    context = {
        "recording": recording,
        "number": number,
        "passage": passage,
        "start": f"{passage.start_s:.3f}",
        "clock": clock(passage.start_s),
        "now": transcript.speaker_name(passage.speaker),
        "speakers": list(transcript.speakers.items()),
        "new": NEW_SPEAKER,
        "joins": [one.speaker for one in transcript.segments[number + 1 : number + 2]] == [passage.speaker],
    }
    fragment = bool(getattr(request, "htmx", False))
    return render(request, "recordings/assign_form.html" if fragment else "recordings/assign.html", context)


@require_POST
def join(request: HttpRequest, recording_id: UUID, number: int) -> HttpResponse:
    """Join a passage with the next one; ``start`` is that of the passage that the user saw."""
    recording = recording_of(request, recording_id, to_change)
    corrections.join_with_next(recording=recording, number=number, start_s=request.POST.get("start", ""))
    return redirect(reverse("recordings:recording", args=[recording_id]) + f"#passage-{number}")


@require_POST
def undo(request: HttpRequest, recording_id: UUID) -> HttpResponse:
    """Undo the last change of the transcript; ``version`` is the one that the user saw."""
    recording = recording_of(request, recording_id, to_change)
    corrections.undo(recording=recording, version=whole_number(request.POST.get("version")))
    messages.success(request, _("The last change was undone."), extra_tags="near-said")
    return redirect(reverse("recordings:recording", args=[recording_id]) + "#said")


@require_POST
def forget_voice(request: HttpRequest) -> HttpResponse:
    speaker_changes.forget_voice(user=signed_in(request), name=request.POST.get("name", ""))
    messages.success(request, _("The voice is forgotten."))
    return redirect("recordings:index")


@require_POST
def forget_word(request: HttpRequest, recording_id: UUID) -> HttpResponse:
    """Remove a ``word``, learned from the user's corrections, from the expected words."""
    recording = recording_of(request, recording_id, owned)
    expected_words.forget(user=recording.user, word=request.POST.get("word", ""))
    return redirect(reverse("recordings:recording", args=[recording_id]) + "#expected-words")


@require_POST
def rename(request: HttpRequest, recording_id: UUID) -> HttpResponse:
    name = clean_name(request.POST.get("name", ""))
    recording = recording_of(request, recording_id, to_change)
    Recording.objects.editable_by(signed_in(request)).filter(pk=recording.pk).update(name=name)
    return redirect("recordings:recording", recording_id)
