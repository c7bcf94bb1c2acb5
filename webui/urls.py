"""The URLs of all pages."""

from __future__ import annotations

from django.urls import include, path

from webui import navigation
from webui.library import views as library
from webui.watching import observing

urlpatterns = [
    path("live", observing.live, name="live"),
    path("ready", observing.ready, name="ready"),
    path("metrics", observing.metrics, name="metrics"),
    path("", navigation.home, name="home"),
    path("help", navigation.help_page, name="help"),
    path("clips/<int:clip_id>.wav", library.audio, name="clip"),
    path("", include("webui.trainer.urls")),
    path("", include("webui.listening.urls")),
    path("jobs/", include("webui.jobs.urls")),
    path("api/", include("webui.api.urls")),
    path("library/", include("webui.library.urls")),
    path("recordings/", include("webui.recordings.urls")),
    path("account/theme", navigation.choose_theme, name="theme"),
    path("account/", include("webui.account_pages.urls")),
    path("organizations/", include("webui.organization_management.urls")),
    path("", include("webui.account_pages.allauth_urls")),
    path("", include("webui.compatibility.urls")),
]
handler404 = "webui.http.errors.not_found"
handler403 = "webui.http.errors.refused"
handler500 = "webui.http.errors.bug"
handler400 = "webui.http.errors.bad_request"
