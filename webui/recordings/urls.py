"""URLs of recordings."""

from __future__ import annotations

from django.urls import path

from webui.recordings import views
from webui.recordings.editing import views as editing
from webui.recordings.reading import ask_views
from webui.recordings.reading import views as reading
from webui.recordings.sharing import views as sharing
from webui.recordings.uploading import views as uploading

app_name = "recordings"
urlpatterns = [
    path("", views.index, name="index"),
    path("rows", views.rows, name="rows"),
    path("upload", uploading.form, name="form"),
    path("uploads", uploading.begin, name="begin"),
    path("uploads/<uuid:upload_id>", uploading.chunk, name="upload"),
    path("uploads/<uuid:upload_id>/done", uploading.done, name="done"),
    path("search", ask_views.search, name="search"),
    path("ask", ask_views.ask, name="ask"),
    path("speak", ask_views.speak, name="speak"),
    path("live", views.live_page, name="live"),
    path("voices/forget", editing.forget_voice, name="forget_voice"),
    path("shared/<str:token>", sharing.shared, name="shared"),
    path("shared/<str:token>/audio", sharing.shared_audio, name="shared_audio"),
    path("shared/<str:token>/waveform", sharing.shared_waveform, name="shared_waveform"),
    path("shared/<str:token>/words", sharing.shared_words, name="shared_words"),
    path("<uuid:recording_id>", views.recording, name="recording"),
    path("<uuid:recording_id>/so-far", views.so_far, name="so_far"),
    path("<uuid:recording_id>/audio", reading.audio, name="audio"),
    path("<uuid:recording_id>/original", reading.original, name="original"),
    path("<uuid:recording_id>/waveform", reading.waveform, name="waveform"),
    path("<uuid:recording_id>/words", reading.words, name="words"),
    path("<uuid:recording_id>/export", reading.export, name="export"),
    path("<uuid:recording_id>/again", views.retranscribe, name="again"),
    path("<uuid:recording_id>/summary", reading.summary, name="summary"),
    path("<uuid:recording_id>/translate", reading.translate, name="translate"),
    path("<uuid:recording_id>/polished", reading.polished, name="polished"),
    path("<uuid:recording_id>/retry", views.retry, name="retry"),
    path("<uuid:recording_id>/delete", views.delete, name="delete"),
    path("<uuid:recording_id>/ask", ask_views.ask_one, name="ask_one"),
    path("<uuid:recording_id>/segments/<int:number>", editing.segment, name="segment"),
    path("<uuid:recording_id>/segments/<int:number>/speaker", editing.assign, name="assign"),
    path("<uuid:recording_id>/segments/<int:number>/join", editing.join, name="join"),
    path("<uuid:recording_id>/replace", editing.replace, name="replace"),
    path("<uuid:recording_id>/undo", editing.undo, name="undo"),
    path("<uuid:recording_id>/speakers", editing.speakers, name="speakers"),
    path("<uuid:recording_id>/speakers/detect", editing.detect_speakers, name="detect_speakers"),
    path("<uuid:recording_id>/rename", editing.rename, name="rename"),
    path("<uuid:recording_id>/words/forget", editing.forget_word, name="forget_word"),
    path("<uuid:recording_id>/minable", sharing.minable, name="minable"),
    path("<uuid:recording_id>/share", sharing.share, name="share"),
    path("<uuid:recording_id>/share/<int:share_id>/revoke", sharing.revoke, name="revoke"),
]
