"""The settings: psycopg on pgproto, before anything imports psycopg."""

from __future__ import annotations

import os

import pgproto_psycopg

pgproto_psycopg.install()

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": os.environ.get("DATABASE_HOST", "localhost"),
        "PORT": os.environ.get("DATABASE_PORT", "5432"),
        "USER": os.environ.get("DATABASE_USER", "postgres"),
        "PASSWORD": os.environ.get("DATABASE_PASSWORD", ""),
        "NAME": os.environ.get("DATABASE_NAME", "postgres"),
        "OPTIONS": {"pool": {"min_size": 1, "max_size": 4}, "server_side_binding": True},
    }
}
INSTALLED_APPS = ["django.contrib.postgres", "shop"]
ROOT_URLCONF = "shop.urls"
SECRET_KEY = os.environ.get("SECRET_KEY", "only for this example")
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "testserver"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
