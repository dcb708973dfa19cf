"""Users, and the accounts page."""

import pytest
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.test import Client

User = get_user_model()
pytestmark = pytest.mark.django_db


def test_an_address_belongs_to_one_user_in_whatever_case():
    User.objects.create_user("alice", "alice@example.com")
    with pytest.raises(ValidationError, match="already exists"):
        User(username="bob", email="ALICE@example.com", password="x").full_clean()
    with pytest.raises(IntegrityError):
        User.objects.create_user("charlie", "Alice@Example.com")


def test_a_user_must_have_an_address():
    with pytest.raises(ValidationError, match="email"):
        User(username="alice", password="x").full_clean()


def test_staff_add_a_user_with_an_address():
    client = Client(headers={"host": "admin.opta.localhost"})
    client.force_login(User.objects.create_superuser("alice", "alice@example.com"))
    password = {
        "usable_password": "true",
        "password1": "a long throw-away password",
        "password2": "a long throw-away password",
    }
    client.post("/accounts/user/add/", {"username": "bob", "email": "bob@example.com", **password})
    assert User.objects.get(email="bob@example.com").username == "bob"


def test_somebody_who_is_not_staff_does_not_get_in():
    client = Client(headers={"host": "admin.opta.localhost"})
    client.force_login(User.objects.create_user("bob", "bob@example.com"))
    assert client.get("/")["Location"] == "/login/?next=/"


def test_one_sign_in_holds_on_every_host():
    User.objects.create_superuser("alice", "alice@example.com", "a long throw-away password")
    client = Client(headers={"host": "admin.opta.localhost"})
    response = client.post("/login/?next=/", {"username": "alice", "password": "a long throw-away password"})
    cookie = response.cookies["opta_session"]
    assert (cookie["domain"], cookie["httponly"], cookie["samesite"]) == (".opta.localhost", True, "Lax")


def test_the_accounts_page_says_what_works():
    page = Client(headers={"host": "accounts.opta.localhost"}).get("/").content.decode()
    assert "Opta Local works without an account" in page and "Sign-in is not open yet" in page
