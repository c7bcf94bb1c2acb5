from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("jobs", "0004_observing")]
    operations = [
        migrations.AddField("job", "cluster", models.CharField(default="", max_length=100)),
    ]
