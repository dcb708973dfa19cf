"""The admin host: Django's admin, under our name."""

from django.contrib import admin
from django.urls import path

admin.site.site_header = admin.site.site_title = "Opta Admin"
admin.site.index_title = "Operations"
admin.site.site_url = None

urlpatterns = [
    path("", admin.site.urls),
    # Never reached: the name by which `site_url("admin")` finds the line above.
    path("", admin.site.admin_view(admin.site.index), name="index"),
]
