"""URLs of the clip library."""

from __future__ import annotations

from django.urls import path

from webui.library import import_views, record_views, views

app_name = "library"
urlpatterns = [
    path("", views.index, name="index"),
    path("space", views.space, name="space"),
    path("act", views.act, name="act"),
    path("<int:clip_id>", views.clip, name="clip"),
    path("<int:clip_id>/outline", views.outline, name="outline"),
    path("<int:clip_id>/text", views.text, name="text"),
    path("<int:clip_id>/trim", views.trim, name="trim"),
    path("record", record_views.record, name="record"),
    path("record/check", record_views.check, name="check"),
    path("record/keep", record_views.keep, name="keep"),
    path("record/takes", record_views.takes, name="takes"),
    path("record/own-voice", record_views.own_voice, name="own_voice"),
    path("record/role", record_views.role, name="role"),
    path("import", import_views.start, name="import"),
    path("import/folder", import_views.folder, name="import_folder"),
    path("import/align", import_views.align, name="align"),
    path("import/upload", import_views.upload, name="import_upload"),
]
