"""URLs of organizations."""

from __future__ import annotations

from django.urls import path

from webui.organization_management import views

app_name = "organizations"
ONE = "<int:organization_id>"
urlpatterns = [
    path("", views.index, name="index"),
    path("join/<str:secret>", views.join, name="join"),
    path(ONE, views.organization, name="organization"),
    path(f"{ONE}/rename", views.rename, name="rename"),
    path(f"{ONE}/delete", views.delete, name="delete"),
    path(f"{ONE}/leave", views.leave, name="leave"),
    path(f"{ONE}/quota", views.quota, name="quota"),
    path(f"{ONE}/retention", views.retention, name="retention"),
    path(f"{ONE}/log", views.log, name="log"),
    path(f"{ONE}/use", views.use, name="use"),
    path(f"{ONE}/export.json", views.export, name="export"),
    path(f"{ONE}/invitations", views.invite, name="invite"),
    path(f"{ONE}/invitations/<int:invitation_id>/revoke", views.revoke, name="revoke"),
    path(f"{ONE}/people/<int:user_id>/role", views.role, name="role"),
    path(f"{ONE}/people/<int:user_id>/remove", views.remove, name="remove"),
    path("detectors/<int:detector_id>", views.share_detector, name="share_detector"),
    path("recordings/<uuid:recording_id>", views.share_recording, name="share_recording"),
]
