#!/usr/bin/env python
"""Django's command line; DJANGO_SETTINGS_MODULE picks the role, the sites by default."""

import os
import sys

# These commands belong to LMX, whose settings name no database and no site.
LMX_COMMANDS = {"lmx", "make_tiny_model"}


def main() -> None:
    from django.core.management import execute_from_command_line

    if len(sys.argv) > 1 and sys.argv[1] in LMX_COMMANDS:
        # Whatever the process that starts LMX is itself: they run under no other role.
        os.environ["DJANGO_SETTINGS_MODULE"] = "opta.settings.lmx"
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opta.settings.sites")
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
