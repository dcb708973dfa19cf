"""`python -m cli.daemon`: the daemon in the foreground, the only one of its OPTA_HOME."""

import os
import sys

import django

from cli.config import ConfigError
from opta.env import EnvError


def main() -> int:
    os.environ["DJANGO_SETTINGS_MODULE"] = "opta.settings.daemon"
    try:
        django.setup()
        from cli.daemon import process  # needs the settings

        return process.run()
    except (ConfigError, EnvError) as error:
        print(f"opta daemon: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
