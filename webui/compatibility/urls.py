"""URLs of the earlier systems, as listed in docs/compatibility.md."""

from __future__ import annotations

from django.urls import path

from webui.api.views import docs
from webui.compatibility import atr, meetings, notes, openai_audio, password_grant, stereo
from webui.watching import observing

app_name = "compatibility"
urlpatterns = [
    path("docs", docs, name="docs"),
    # Recognition and summaries
    path("health", notes.health, name="health"),
    path("api/asr/transcribe", notes.transcribe, name="asr"),
    path("api/nlp/summarize", notes.summarize, name="nlp"),
    path("api/voice-to-notes", notes.voice_to_notes, name="voice-to-notes"),
    # ATR
    path("upload", atr.upload, name="upload"),
    path("train-real", atr.train_real, name="train-real"),
    path("interact", atr.interact, name="interact"),
    path("interact/<uuid:reply_id>.wav", atr.reply_audio, name="reply"),
    path("progress", atr.progress, name="progress"),
    path("workspace", atr.upload_tab, name="workspace"),
    path("workspace/training", atr.training_tab, name="training"),
    path("workspace/interact", atr.interact_tab, name="interact-tab"),
    # Meetings
    path("api/meetings", meetings.meetings, name="meetings"),
    path("api/meetings/progress", meetings.progress, name="meetings-progress"),
    path("api/meetings/<uuid:meeting_id>", meetings.meeting, name="meeting"),
    path("api/meetings/<uuid:meeting_id>/artefacts/<str:name>", meetings.artefact, name="artefact"),
    path("token", password_grant.token, name="token"),
    path("api/auth/token", password_grant.token, name="auth-token"),
    # Stereo
    path("api/v1/transcribe", stereo.sessions, name="sessions"),
    path("api/v1/transcribe/<uuid:session_id>", stereo.session, name="session"),
    path("api/v1/health", observing.health, name="stereo-health"),
    path("api/v1/health/ready", observing.ready, name="ready"),
    path("api/v1/health/live", observing.live, name="live"),
    path("api/v1/health/metrics", observing.open_metrics, name="metrics"),
    path("api/v1/ready", observing.ready, name="ready-short"),
    path("api/v1/live", observing.live, name="live-short"),
    path("api/v1/metrics", observing.open_metrics, name="metrics-short"),
    # OpenAI
    path("v1/audio/transcriptions", openai_audio.transcriptions, name="transcriptions"),
    path("v1/audio/translations", openai_audio.translations, name="translations"),
    path("v1/audio/speech", openai_audio.speech, name="speech"),
    path("v1/models", openai_audio.models, name="models"),
    path("v1/<path:rest>", openai_audio.nothing, name="nothing"),
]
