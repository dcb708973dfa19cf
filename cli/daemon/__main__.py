"""`python -m cli.daemon`: the daemon in the foreground, the only one of its OPTA_HOME."""

import argparse
import os
import sys

import django

from cli.config import ConfigError
from opta.env import EnvError


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m cli.daemon", description=__doc__)
    parser.add_argument("--home", help="OPTA_HOME, for what starts it without an environment")
    parser.add_argument("--supervisor", default="", help="what starts it, and again after it failed")
    given = parser.parse_args()
    os.environ["DJANGO_SETTINGS_MODULE"] = "opta.settings.daemon"
    if given.home:
        os.environ["OPTA_HOME"] = given.home
    try:
        django.setup()
        from cli.daemon import logfile, process  # need the settings

        if given.supervisor:  # which keeps no log of its own, or one where nobody looks
            logfile.take()
        return process.run(supervisor=given.supervisor)
    except (ConfigError, EnvError) as error:
        print(f"opta daemon: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # the home is read-only, or its disk full: the machine's answer says it all
        print(f"opta daemon: {error.filename or 'its home'}: {error.strerror}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
