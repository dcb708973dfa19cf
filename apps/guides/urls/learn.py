"""The learn host."""

from apps.guides.views import routes

urlpatterns = routes("learn")
sitemap = [route.name for route in urlpatterns]
