"""The lmx host."""

from django.conf import settings
from django.test import Client


def test_it_leads_to_the_server_it_is_about():
    page = Client(headers={"host": "lmx.opta.localhost"}).get("/").content.decode()
    assert f'href="{settings.LMX_URL}/docs"' in page
    assert "The live dashboard is to come" in page
