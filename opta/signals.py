"""What Django would do around each request for a database, where none belongs to a request."""

from django.core.signals import request_finished, request_started
from django.db import close_old_connections, reset_queries


def leave_databases_alone() -> None:
    """Otherwise each request waits for a thread that looks after nothing."""
    request_started.disconnect(reset_queries)
    request_started.disconnect(close_old_connections)
    request_finished.disconnect(close_old_connections)
