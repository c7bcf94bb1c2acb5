"""URLs of recordings."""

from __future__ import annotations

from django.urls import path

from webui.recordings import ask_views, change_views, upload_views, views

app_name = "recordings"
urlpatterns = [
    path("", views.index, name="index"),
    path("rows", views.rows, name="rows"),
    path("upload", upload_views.form, name="form"),
    path("uploads", upload_views.begin, name="begin"),
    path("uploads/<uuid:upload_id>", upload_views.piece, name="upload"),
    path("uploads/<uuid:upload_id>/done", upload_views.done, name="done"),
    path("search", ask_views.search, name="search"),
    path("ask", ask_views.ask, name="ask"),
    path("speak", ask_views.speak, name="speak"),
    path("live", views.live_page, name="live"),
    path("voices/forget", change_views.forget_voice, name="forget_voice"),
    path("shared/<str:token>", change_views.shared, name="shared"),
    path("shared/<str:token>/audio", change_views.shared_audio, name="shared_audio"),
    path("shared/<str:token>/waveform", change_views.shared_waveform, name="shared_waveform"),
    path("shared/<str:token>/words", change_views.shared_words, name="shared_words"),
    path("<uuid:recording_id>", views.recording, name="recording"),
    path("<uuid:recording_id>/so-far", views.so_far, name="so_far"),
    path("<uuid:recording_id>/audio", views.audio, name="audio"),
    path("<uuid:recording_id>/original", views.original, name="original"),
    path("<uuid:recording_id>/waveform", views.waveform, name="waveform"),
    path("<uuid:recording_id>/words", views.words, name="words"),
    path("<uuid:recording_id>/export", views.export, name="export"),
    path("<uuid:recording_id>/again", views.retranscribe, name="again"),
    path("<uuid:recording_id>/summary", views.summary, name="summary"),
    path("<uuid:recording_id>/translate", views.translate, name="translate"),
    path("<uuid:recording_id>/polished", views.polished, name="polished"),
    path("<uuid:recording_id>/retry", views.retry, name="retry"),
    path("<uuid:recording_id>/delete", views.delete, name="delete"),
    path("<uuid:recording_id>/ask", ask_views.ask_one, name="ask_one"),
    path("<uuid:recording_id>/segments/<int:number>", change_views.segment, name="segment"),
    path("<uuid:recording_id>/segments/<int:number>/speaker", change_views.assign, name="assign"),
    path("<uuid:recording_id>/segments/<int:number>/join", change_views.join, name="join"),
    path("<uuid:recording_id>/replace", change_views.replace, name="replace"),
    path("<uuid:recording_id>/undo", change_views.undo, name="undo"),
    path("<uuid:recording_id>/speakers", change_views.speakers, name="speakers"),
    path("<uuid:recording_id>/speakers/detect", change_views.detect_speakers, name="detect_speakers"),
    path("<uuid:recording_id>/rename", change_views.rename, name="rename"),
    path("<uuid:recording_id>/words/forget", change_views.forget_word, name="forget_word"),
    path("<uuid:recording_id>/minable", change_views.minable, name="minable"),
    path("<uuid:recording_id>/share", change_views.share, name="share"),
    path("<uuid:recording_id>/share/<int:share_id>/revoke", change_views.revoke, name="revoke"),
]
