"""URLs of jobs."""

from __future__ import annotations

from django.urls import path

from webui.jobs import views

app_name = "jobs"
urlpatterns = [
    path("", views.index, name="index"),
    path("<uuid:job_id>", views.detail, name="detail"),
    path("<uuid:job_id>/events", views.events, name="events"),
    path("<uuid:job_id>/over", views.over, name="over"),
    path("<uuid:job_id>/cancel", views.cancel, name="cancel"),
    path("<uuid:job_id>/retry", views.retry, name="retry"),
]
