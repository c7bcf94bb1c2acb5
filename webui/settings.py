"""Django's settings, from the environment or a file ``.env``; docs/settings.md lists them."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

from corsheaders.defaults import default_headers
from csp.constants import NONE, SELF
from django.utils.functional import lazy
from django.utils.translation import gettext_lazy as _

from core.data_folder import data_folder
from core.settings.file import read_settings_files
from core.settings.given_secrets import check_given_secrets
from core.settings.rules import setting
from webui.keys.secret import NAME as KEY_FILE
from webui.keys.secret import EarlierKeys, secret_key
from webui.servers import database_settings, request_cache, uses_redis
from webui.telemetry import tracing

# Static files are small, so reading a whole one is harmless.
warnings.filterwarnings("ignore", message="StreamingHttpResponse must consume synchronous iterators")

HERE = Path(__file__).resolve().parent
read_settings_files()
check_given_secrets()
DATA = data_folder()
PORTAL_DATA = DATA / "portal"


def _flag(name: str) -> bool:
    return os.environ.get(name, "") == "1"


def _number(name: str, default: int) -> int:
    return int(setting(name) or default)


DEBUG = False
# The key is created on first use, so that importing the settings (linters, tests) writes nothing.
if os.environ.get("HARK_SECRET_KEY"):
    SECRET_KEY = os.environ["HARK_SECRET_KEY"]
    SECRET_KEY_FALLBACKS = [key for key in os.environ.get("HARK_SECRET_KEY_FALLBACKS", "").split(",") if key]
else:
    SECRET_KEY = lazy(secret_key, str)(PORTAL_DATA / KEY_FILE)
    SECRET_KEY_FALLBACKS = EarlierKeys(PORTAL_DATA / KEY_FILE)
ALLOWED_HOSTS = [
    *filter(None, (name.strip() for name in os.environ.get("HARK_ALLOWED_HOSTS", "").split(","))),
    *("localhost", "127.0.0.1", "[::1]"),
]

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.forms",  # has the templates of FORM_RENDERER
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.google",
    "allauth.usersessions",
    "channels",
    "corsheaders",
    "csp",
    "django_htmx",
    "django_q",
    "ninja",
    "webui.accounts",
    "webui.organizations",
    "webui.jobs",
    "webui.trainer",
    "webui.listening",
    "webui.library",
    "webui.recordings",
    "webui.webhooks",
    "webui.api",
    "webui.compatibility",
]

MIDDLEWARE = [
    "webui.telemetry.logs.RequestIds",
    "webui.watching.metrics.CountRequests",
    "webui.watching.observing.AnyName",
    "webui.http.answers.CompressPages",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "webui.http.answers.ContentPolicy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "webui.accounts.middleware.SessionLimitsMiddleware",
    "webui.accounts.audit.AuditMiddleware",
    "webui.accounts.rate_limits.RateLimitMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "webui.accounts.middleware.PrivateAnswersMiddleware",
    "webui.accounts.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "webui.http.errors.ExplainErrorsMiddleware",
]

if tracing.wanted():
    MIDDLEWARE.insert(0, "webui.telemetry.tracing.TraceRequests")

ROOT_URLCONF = "webui.urls"
ASGI_APPLICATION = "webui.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [HERE / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "webui.navigation.theme_and_counts",
            ],
            "builtins": ["webui.template_filters"],
        },
    }
]

IN_MEMORY = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
CACHES = {
    "default": IN_MEMORY,
    # Menus (templates/base.html), the form for recordings. One cache per process, so that an upgrade empties it.
    "template_fragments": {**IN_MEMORY, "LOCATION": "fragments", "OPTIONS": {"MAX_ENTRIES": 2000}},
    # Requests per minute (webui/accounts/rate_limits.py): of all web servers with Redis, else of this one.
    "requests": request_cache() or {**IN_MEMORY, "LOCATION": "requests", "OPTIONS": {"MAX_ENTRIES": 100_000}},
}
DATABASES = {
    "default": database_settings(setting("DATABASE_URL"))
    if setting("DATABASE_URL")
    else {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": PORTAL_DATA / "portal.sqlite3",
        "OPTIONS": {
            "timeout": 30,
            "transaction_mode": "IMMEDIATE",  # lock at the beginning, or a write after a read may fail
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Accounts
AUTH_USER_MODEL = "accounts.User"
LOGIN_URL = "accounts:login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "accounts:login"
AUTHENTICATION_BACKENDS = ["webui.accounts.backend.Backend", "django.contrib.auth.backends.ModelBackend"]
PASSWORD_HASHERS = ["webui.accounts.hashing.FewAtOnce", "django.contrib.auth.hashers.PBKDF2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    *(
        {"NAME": f"django.contrib.auth.password_validation.{name}"}
        for name in ("UserAttributeSimilarityValidator", "CommonPasswordValidator")
    ),
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "webui.accounts.validators.MoreThanTheName"},
]
ACCESS_TOKEN_MINUTES = _number("ACCESS_TOKEN_EXPIRE_MINUTES", 15)
ACCOUNT_ADAPTER = "webui.accounts.adapters.AccountAdapter"
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_FORMS = {"change_password": "webui.account_pages.forms.ChangePasswordForm"}
ACCOUNT_RATE_LIMITS = MFA_RATE_LIMITS = False  # guesses are counted in the database (webui.accounts.sign_in)
MFA_ADAPTER = "webui.accounts.adapters.SealingAdapter"
MFA_ALLOW_UNVERIFIED_EMAIL = True
MFA_FORMS = {
    "authenticate": "webui.accounts.second_factor.CodeForm",
    "authenticate_webauthn": "webui.accounts.second_factor.PasskeyForm",
    "reauthenticate": "webui.accounts.second_factor.CodeAgainForm",
    "reauthenticate_webauthn": "webui.accounts.second_factor.PasskeyAgainForm",
    "add_webauthn": "webui.accounts.second_factor.NewPasskeyForm",
}
MFA_RECOVERY_CODES_SHOW_ONCE = True
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_TOTP_ISSUER = "Hark"
MFA_TOTP_TOLERANCE = 1  # number of 30 s codes before and after, for inaccurate clocks
MFA_RECOVERY_CODE_DIGITS = 10
SOCIALACCOUNT_ADAPTER = "webui.accounts.google.GoogleAdapter"
SOCIALACCOUNT_LOGIN_ON_GET = False
OPEN_SIGN_UP = _flag("HARK_OPEN_SIGN_UP")
GOOGLE_SIGN_IN = bool(os.environ.get("GOOGLE_CLIENT_ID") and os.environ.get("GOOGLE_CLIENT_SECRET"))
SOCIALACCOUNT_PROVIDERS = {
    "google": {
        "SCOPE": ["profile", "email"],
        "OAUTH_PKCE_ENABLED": True,
        "APPS": [{"client_id": os.environ["GOOGLE_CLIENT_ID"], "secret": os.environ["GOOGLE_CLIENT_SECRET"], "key": ""}]
        if GOOGLE_SIGN_IN
        else [],
    }
}

AUDIT_DAYS = _number("HARK_AUDIT_DAYS", 365)
IMPORT_FOLDERS = [Path(name) for name in os.environ.get("HARK_IMPORT_FOLDERS", "").split(":") if name.startswith("/")]

# Jobs: each queue has its own cluster, so that a training run never delays a transcription. All get their tasks from
# the database or from Redis; Hark's leases (webui/jobs) decide what happens to a task whose worker was killed.
JOBS_RUNNING = _number("HARK_JOBS_RUNNING", 3)
JOBS_RUNNING_PER_USER = _number("HARK_JOBS_RUNNING_PER_USER", 2)
JOBS_WAITING = _number("HARK_JOBS_WAITING", 200)
JOBS_WAITING_PER_USER = max(1, JOBS_WAITING // 4)
USER_MAX_BYTES = _number("HARK_USER_MAX_BYTES", 50_000_000_000)
JOBS_LEASE_S = _number("HARK_JOBS_LEASE_S", 30)
REQUESTS_PER_TOKEN = REQUESTS_PER_ADDRESS = _number("HARK_REQUESTS_PER_MINUTE", 600)
REQUESTS_PER_USER = 2 * REQUESTS_PER_TOKEN
METRICS_TOKEN = os.environ.get("HARK_METRICS_TOKEN", "").strip()
LIVE_PER_USER = 2  # simultaneous live transcriptions
WAKES_PER_DAY = _number("HARK_WAKES_PER_DAY", 50)
WAKES_WAITING = max(1, 4 * WAKES_PER_DAY)
WEBHOOKS_PRIVATE = _flag("HARK_WEBHOOKS_PRIVATE")
WEBHOOKS_SENT_AT_ONCE = 4
WORKERS = _number("HARK_WORKERS", JOBS_RUNNING)
REDIS = uses_redis()
_YEAR_S = 365 * 24 * 3600  # effectively no time limit, because training runs take hours
Q_CLUSTER = {
    "name": "training",
    "label": "Tasks",
    **(
        {"broker_class": "webui.jobs.redis_broker.RedisBroker"}
        if REDIS
        else {"broker_class": "webui.jobs.broker.DatabaseBroker", "orm": "default"}
    ),
    "workers": WORKERS,
    "poll": 0.3,
    "timeout": _YEAR_S,
    "retry": 10 * _YEAR_S,
    "max_attempts": 1,
    "ack_failures": True,
    "save_limit": 100,
    "catch_up": False,
    "ALT_CLUSTERS": {
        "general": {"workers": WORKERS, "timeout": _YEAR_S, "retry": 10 * _YEAR_S},
        # Webhooks have their own queue, because their receivers may be slow.
        "webhooks": {"workers": WEBHOOKS_SENT_AT_ONCE, "timeout": _YEAR_S, "retry": 10 * _YEAR_S},
    },
}

FILE_UPLOAD_TEMP_DIR = DATA / "tmp"
SILENCED_SYSTEM_CHECKS = [
    "files.E001",  # the first upload creates that folder
    "models.W036", "models.W044",  # MariaDB and MySQL do not have such unique indices; services check instead
]  # fmt: skip
FILE_UPLOAD_HANDLERS = [
    "django.core.files.uploadhandler.MemoryFileUploadHandler",
    "webui.http.uploads.DataFolderUploads",
]

# Pages
STATIC_URL = "static/"
STATICFILES_DIRS = [HERE / "static"]
WHITENOISE_USE_FINDERS = True  # no collectstatic, no build step
WHITENOISE_AUTOREFRESH = False
LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("de", _("German"))]
LOCALE_PATHS = [HERE / "locale"]
USE_TZ = True
TIME_ZONE = "UTC"
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"
FORM_RENDERER = "django.forms.renderers.TemplatesSetting"

# Nothing from other origins, nothing inline.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "media-src": [SELF, "blob:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "worker-src": [SELF],
        # Browsers also check the redirect after a form, here to Google.
        "form-action": [SELF, "https://accounts.google.com"] if GOOGLE_SIGN_IN else [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
        "manifest-src": [SELF],
    }
}
# Pages of other origins: only those listed by the owner, which may also send cookies.
CORS_ALLOWED_ORIGINS = [origin for origin in setting("CORS_ORIGINS").split(",") if origin]
CORS_ALLOW_CREDENTIALS = True
CORS_ALLOW_HEADERS = (*default_headers, "idempotency-key")
CORS_EXPOSE_HEADERS = (
    *("Content-Disposition", "Location", "Retry-After"),
    *("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"),
    *("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"),
    *("x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
)
CSRF_FAILURE_VIEW = "webui.http.errors.csrf_failure"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_AGE = 3 * 24 * 3600  # since the last use; 14 days in total (webui.accounts.sessions)
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _flag("HARK_HTTPS")
if _flag("HARK_HTTPS"):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_HSTS_SECONDS = 365 * 24 * 3600
    CSRF_TRUSTED_ORIGINS = [f"https://{host}" for host in ALLOWED_HOSTS]

LOG_JSON = _flag("HARK_LOG_JSON")
_MORE = "INFO" if LOG_JSON else "WARNING"  # for programs, log each request and job
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "plain": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"},
        "json": {"()": "webui.telemetry.logs.JsonLines"},
    },
    "filters": {
        "in a line": {"()": "webui.http.errors.OneLineLogFilter"},
        "no address": {"()": "webui.telemetry.logs.NoAddress"},
    },
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "formatter": "json" if LOG_JSON else "plain",
            "level": setting("LOG_LEVEL") or "INFO",
            "filters": ["in a line", "no address"],
        }
    },
    "root": {"handlers": ["stderr"], "level": "INFO"},
    "loggers": {
        "django-q": {"level": "WARNING"},
        "django.request": {"level": "ERROR"},
        "httpx2": {"level": "WARNING"},  # at INFO, it logs full URLs, which can hold a secret
        "webui.telemetry.logs": {"level": _MORE},
        "webui.jobs.supervise": {"level": _MORE},
        # Its own handler would write plain lines.
        **({"uvicorn": {"level": "WARNING", "handlers": [], "propagate": True}} if LOG_JSON else {}),
    },
}
