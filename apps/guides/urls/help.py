"""The help host."""

from apps.guides.views import routes

urlpatterns = routes("help")
sitemap = [route.name for route in urlpatterns]
