"""Sessions get what a list and a search need; the words of titles and messages get an index (SQLite's FTS5)."""

from pathlib import Path

import django.db.models.deletion
from django.db import migrations, models

WORDS = (
    """
    CREATE VIRTUAL TABLE daemon_words USING fts5(
        text, content='daemon_passage', content_rowid='id', tokenize='unicode61 remove_diacritics 2'
    )
    """,
    """
    CREATE TRIGGER daemon_passage_made AFTER INSERT ON daemon_passage BEGIN
        INSERT INTO daemon_words(rowid, text) VALUES (new.id, new.text);
    END
    """,
    """
    CREATE TRIGGER daemon_passage_gone AFTER DELETE ON daemon_passage BEGIN
        INSERT INTO daemon_words(daemon_words, rowid, text) VALUES ('delete', old.id, old.text);
    END
    """,
)
FILL = (
    """
    INSERT INTO daemon_passage(session_id, seq, turn, text)
    SELECT id, 0, '', title FROM daemon_session WHERE title <> ''
    """,
    """
    INSERT INTO daemon_passage(session_id, seq, turn, text)
    SELECT session_id, seq, turn, json_extract(data, '$.event.text') FROM daemon_event
    WHERE type IN ('turn.queued', 'text.done')
    """,
    """
    UPDATE daemon_session SET
        turns = (SELECT count(*) FROM daemon_turn WHERE session_id = daemon_session.id),
        seq = (SELECT coalesce(max(seq), 0) FROM daemon_event WHERE session_id = daemon_session.id)
    """,
)


def index_words(apps, schema_editor):
    # The daemon's database is always SQLite; the tests of the sites make its tables on Postgres as well.
    if schema_editor.connection.vendor == "sqlite":
        for statement in (*WORDS, *FILL):
            schema_editor.execute(statement)


def drop_words(apps, schema_editor):
    if schema_editor.connection.vendor == "sqlite":
        for name in ("TRIGGER daemon_passage_made", "TRIGGER daemon_passage_gone", "TABLE daemon_words"):
            schema_editor.execute(f"DROP {name}")


def find_projects(apps, schema_editor):
    for session in apps.get_model("daemon", "Session").objects.only("cwd"):
        folders = (Path(session.cwd), *Path(session.cwd).parents)
        root = next((folder for folder in folders if (folder / ".git").exists()), folders[0])
        session.project = str(root)
        session.save(update_fields=["project"])


def copy_prompts(apps, schema_editor):
    apps.get_model("daemon", "Session").objects.update(system=models.F("prompt"))


def nothing(apps, schema_editor):
    """What only fills columns needs no way back."""


class Migration(migrations.Migration):
    dependencies = [("daemon", "0001_initial")]

    operations = [
        migrations.AddField("session", "project", models.CharField(default="", max_length=4096)),
        migrations.AddField("session", "mode", models.CharField(default="chat", max_length=16)),
        migrations.AddField("session", "tools", models.JSONField(null=True)),
        migrations.AddField("session", "tags", models.JSONField(default=list)),
        migrations.AddField("session", "archived", models.BooleanField(default=False)),
        migrations.AddField("session", "origin", models.CharField(default="", max_length=64)),
        migrations.AddField("session", "origin_turn", models.CharField(default="", max_length=64)),
        migrations.AddField("session", "turns", models.IntegerField(default=0)),
        migrations.AddField("session", "seq", models.BigIntegerField(default=0)),
        # Long texts go to the end of the row: SQLite walks over them to what stands behind, in each list.
        migrations.RenameField("session", "system", "prompt"),
        migrations.AddField("session", "system", models.TextField(default=""), preserve_default=False),
        migrations.RunPython(copy_prompts, nothing),
        migrations.RemoveField("session", "prompt"),
        migrations.AddField("session", "instructions", models.TextField(default="")),
        migrations.CreateModel(
            "Passage",
            [
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("seq", models.BigIntegerField()),
                ("turn", models.CharField(default="", max_length=64)),
                ("text", models.TextField()),
                (
                    "session",
                    models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="daemon.session"),
                ),
            ],
        ),
        migrations.RunPython(find_projects, nothing),
        migrations.RunPython(index_words, drop_words),
    ]
