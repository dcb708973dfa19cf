"""The init host."""

from django.test import Client

from opta.hosts import site_url


def test_it_says_that_nothing_is_released_and_what_works_instead():
    page = Client(headers={"host": "init.opta.localhost"}).get("/").content.decode()
    assert "Nothing is released yet" in page
    assert f'href="{site_url("help", "install")}"' in page
