"""The admin host: Django's admin, under our name."""

from django.contrib import admin
from django.urls import path

admin.site.site_header = admin.site.site_title = "Opta Admin"
admin.site.index_title = "Operations"

urlpatterns = [path("", admin.site.urls)]
