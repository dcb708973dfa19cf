"""Sessions keep the list of tools that their model was first told."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("daemon", "0004_permissions")]

    operations = [migrations.AddField("session", "catalog", models.JSONField(null=True))]
