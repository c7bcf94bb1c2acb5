"""Django's database of MariaDB and MySQL, where it differs from Django's own: ``ENGINE`` is this package."""
