from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("jobs", "0007_job_organization_usage_speakers")]
    operations = [
        migrations.AddField("job", "traceparent", models.CharField(default="", max_length=55)),
    ]
