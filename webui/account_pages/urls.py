"""URLs of accounts."""

from __future__ import annotations

from django.urls import path
from django.views.decorators.http import require_POST
from django.views.i18n import set_language

from webui.account_pages import audit_views, user_views, views

app_name = "accounts"
urlpatterns = [
    path("", views.me, name="me"),
    path("language", require_POST(set_language), name="language"),
    path("tokens", views.tokens, name="tokens"),
    path("tokens/<int:token_id>/revoke", views.revoke, name="revoke"),
    path("webhooks", views.webhooks, name="webhooks"),
    path("webhooks/<int:webhook_id>/remove", views.remove_webhook, name="remove_webhook"),
    path("setup/<str:secret>", views.setup, name="setup"),
    path("login", views.login, name="login"),
    path("logout", views.logout, name="logout"),
    path("retention", views.retention, name="retention"),
    path("export", views.export, name="export"),
    path("export.zip", views.exported, name="exported"),
    path("delete", views.delete, name="delete"),
    path("log", audit_views.own, name="log"),
    path("sessions/<int:number>/end", views.end_session, name="end_session"),
    path("users/log", audit_views.everybody, name="users_log"),
    path("users/use", user_views.use, name="users_use"),
    path("users", user_views.users, name="users"),
    path("users/quota", user_views.quota, name="quota"),
    path("users/<int:user_id>/factor", user_views.factor_off, name="user_factor"),
    path("users/<int:user_id>/delete", user_views.delete, name="user_delete"),
    path("users/<int:user_id>/quota", user_views.quota, name="user_quota"),
    path("users/<int:user_id>", user_views.user, name="user"),
    path("users/<int:user_id>/link", user_views.link, name="user_link"),
    path("users/<int:user_id>/active", user_views.active, name="user_active"),
]
