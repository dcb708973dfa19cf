"""The home host."""

from django.urls import path

from apps.guides.views import home

urlpatterns = [path("", home, name="index")]
