"""The pages of the status site."""

from django.urls import path

from apps.status import views

urlpatterns = [
    path("", views.index, name="index"),
    path("live", views.stream, name="live"),
    path("api/summary.json", views.summary, name="summary"),
    path("api/summary.schema.json", views.schema, name="summary-schema"),
    path("api/polled", views.polled, name="polled"),
]
