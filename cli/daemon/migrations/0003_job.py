"""Background jobs get a table."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("daemon", "0002_sessions")]

    operations = [
        migrations.CreateModel(
            "Job",
            [
                ("id", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("label", models.CharField(blank=True, max_length=200)),
                ("command", models.JSONField()),
                ("cwd", models.CharField(max_length=4096)),
                ("pid", models.IntegerField()),
                ("born", models.CharField(max_length=100)),
                ("status", models.CharField(db_index=True, default="running", max_length=16)),
                ("code", models.IntegerField(null=True)),
                ("created", models.DateTimeField()),
                ("ended", models.DateTimeField(null=True)),
                (
                    "session",
                    models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="daemon.session"),
                ),
            ],
        ),
    ]
