"""The lmx host."""

from django.conf import settings
from django.urls import path
from django.views.generic import TemplateView

index = TemplateView.as_view(template_name="dashboard/index.html", extra_context={"lmx": settings.LMX_URL})

urlpatterns = [path("", index, name="index")]
