"""Runs Django's tests of a cache backend in a project of the minimal settings."""

import os
import sys

import django
from django.conf import settings
from django.test.utils import get_runner
from psycopg.conninfo import conninfo_to_dict

URL = os.environ["PG_STASH_URL"]

if __name__ == "__main__":
    names = {"NAME": "dbname", "USER": "user", "HOST": "host", "PORT": "port"}
    where = conninfo_to_dict(URL)
    database = {name: where[keyword] for name, keyword in names.items() if keyword in where}
    settings.configure(
        SECRET_KEY="of the tests",
        USE_TZ=False,
        INSTALLED_APPS=["cache"],
        DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", **database}},
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
    )
    django.setup()
    sys.exit(bool(get_runner(settings)(verbosity=1, interactive=False).run_tests(["django_suite"])))
