"""`manage.py make_tiny_model DIR`: the small model that tests and a first start use."""

from pathlib import Path

from django.core.management.base import BaseCommand, CommandError, CommandParser

from inference import tiny


class Command(BaseCommand):
    help = f"Write the tiny deterministic model into DIR (by convention a folder named {tiny.NAME})."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", metavar="DIR", type=Path)

    def handle(self, *, folder: Path, **options: object) -> None:
        try:
            tiny.write(folder, self.stdout.write)
        except OSError as error:
            raise CommandError(str(error)) from error
