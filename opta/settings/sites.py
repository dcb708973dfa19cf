"""The eight sites and their worker."""

import os
import secrets
from pathlib import Path

import dj_database_url
from csp.constants import NONCE, NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from opta import env, paths
from opta.settings.base import *
from opta.settings.base import DOMAIN, LOCAL


def kept_secret(file: Path) -> str:
    """The key in `file`, made at the first start; of two first starts at once, both read one key."""
    if not file.exists():
        draft = file.with_suffix(f".{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_urlsafe(50))
        try:
            os.link(draft, file)
        except FileExistsError:
            pass  # the start beside this one was first; its key is the one to read
        finally:
            draft.unlink()
    return file.read_text()


DATA = paths.private(paths.data())

SECRET_KEY = env.text("SECRET_KEY", "")
if not SECRET_KEY:
    if not LOCAL:
        raise ImproperlyConfigured(
            f"SECRET_KEY must be set to serve {DOMAIN}. Set it, or SECRET_KEY_FILE to the path of a file."
        )
    SECRET_KEY = kept_secret(DATA / "secret_key")

# Where the sites are reached: plain HTTP on a port in development, HTTPS on its own port elsewhere.
SITES_PORT = env.port("OPTA_SITES_PORT", 8000)
SITES_ORIGIN = f"http://{DOMAIN}:{SITES_PORT}" if LOCAL else f"https://{DOMAIN}"
ROOT_URLCONF = "opta.urls"
ASGI_APPLICATION = "opta.asgi.application"
# opta.hosts answers 404 to a host that is not in the table SITES, before Django looks at this.
ALLOWED_HOSTS = [f".{DOMAIN}"]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "apps.accounts",
    "apps.dashboard",
    "apps.guides",
    "apps.releases",
    "apps.status",
]
MIDDLEWARE = [
    # These two first: what they set is on every answer, also on one that a later middleware makes.
    "csp.middleware.CSPMiddleware",
    "opta.hosts.SiteMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [paths.CHECKOUT / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "builtins": ["opta.hosts"],
            "context_processors": [
                "csp.context_processors.nonce",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "django.template.context_processors.request",
                "opta.hosts.page",
            ],
        },
    },
]

DATABASES = {
    "default": dj_database_url.parse(env.text("DATABASE_URL", f"sqlite:///{DATA / 'sites.sqlite3'}"))
}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # Web and worker write at once: WAL lets them, and taking the lock early makes the wait for it work.
    DATABASES["default"]["OPTIONS"] = {
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
    }
else:
    # A database that is gone is said to be gone within the 9 s that a poll of /api/health waits.
    DATABASES["default"].setdefault("OPTIONS", {}).setdefault("connect_timeout", 5)

AUTH_USER_MODEL = "accounts.User"
LOGIN_URL = "admin:login"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]

STATIC_URL = "/static/"
STATICFILES_DIRS = [paths.CHECKOUT / "static"]
# Static files are served from where they lie: no collectstatic between a change and its page.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = LOCAL
# Their names carry no hash: a browser asks again soon, and is mostly told that nothing changed.
WHITENOISE_MAX_AGE = 0 if LOCAL else 60
WHITENOISE_ALLOW_ALL_ORIGINS = False

# One sign-in for every host: the session belongs to the parent domain. A browser takes a cookie with one
# of the prefixes over HTTPS only, and a __Host- one from no other host.
SESSION_COOKIE_DOMAIN = f".{DOMAIN}"
SESSION_COOKIE_NAME = "opta_session" if LOCAL else "__Secure-opta_session"
CSRF_COOKIE_NAME = "opta_csrf" if LOCAL else "__Host-opta_csrf"
CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = not LOCAL
# What balances the load asks from this side of the proxy.
SECURE_REDIRECT_EXEMPT = [r"^api/health$"]
# A client can write this header too: it is believed only where a proxy that overwrites it is said to stand.
if env.flag("OPTA_BEHIND_PROXY"):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

if not LOCAL:
    SECURE_HSTS_SECONDS = 63_072_000
    SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = True

# On every answer, beside the policy below.
HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-site",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
SILENCED_SYSTEM_CHECKS = ["security.W002"]  # it asks for the middleware that sets X-Frame-Options
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF, NONCE],
        "style-src": [SELF],
        "img-src": [SELF],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "manifest-src": [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
    }
}

# What the worker polls. The daemon and LMX are the ones on this machine unless told otherwise.
LMX_URL = env.text("OPTA_LMX_URL", "http://127.0.0.1:1234")
DAEMON_URL = env.text("OPTA_DAEMON_URL", "http://127.0.0.1:9999")

# Redis when there is one, else folders of files: nothing to install, one machine only.
REDIS_URL = env.text("REDIS_URL", "")
