"""URLs for trying a detector, and of the inbox."""

from __future__ import annotations

from django.urls import path

from webui.listening import views

app_name = "listening"
urlpatterns = [
    path("detectors/<int:detector_id>/<int:number>/try", views.attempt, name="try"),
    path("detectors/<int:detector_id>/<int:number>/try/file", views.file, name="file"),
    path("detectors/<int:detector_id>/<int:number>/try/mark", views.mark, name="mark"),
    path("new/ready", views.ready, name="ready"),
    path("detectors/<int:detector_id>/wakes", views.wakes, name="wakes"),
    path("inbox/confirm", views.confirm_sorted, name="confirm_sorted"),
    path("inbox", views.inbox, name="inbox"),
    path("inbox/<int:sample_id>.flac", views.sample_audio, name="audio"),
    path("inbox/<int:sample_id>", views.decide, name="decide"),
]
