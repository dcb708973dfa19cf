"""The init host: downloads and channels."""

from django.urls import path
from django.views.generic import TemplateView

urlpatterns = [path("", TemplateView.as_view(template_name="releases/index.html"), name="index")]
