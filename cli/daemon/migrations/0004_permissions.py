"""Sessions get permission rules, and turns whether somebody is there to be asked."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("daemon", "0003_job")]

    operations = [
        migrations.AddField("session", "rules", models.JSONField(default=dict)),
        migrations.AddField("turn", "interactive", models.BooleanField(db_default=False, default=False)),
    ]
