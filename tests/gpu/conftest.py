"""Nothing here is a test of the ordinary run: ``python3 dev.py gpu`` runs it where there is a graphics processor."""

collect_ignore_glob = ["*.py"]
