"""Addresses of signing in with Google, with the names that allauth knows them by."""

from __future__ import annotations

from django.urls import path

from webui.accounts import google

urlpatterns = [
    path("google/login/", google.begin, name="google_login"),
    path("google/login/callback/", google.back, name="google_callback"),
]
